"""The pacing bench: three workers share the rate of push services that answer 429 above it.

`python -m benchmarks.pacing` takes about four minutes and prints a table in Markdown; `--help` lists the options.
"""
