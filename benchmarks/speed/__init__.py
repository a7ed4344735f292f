"""The speed bench: this library beside others on the same push service, then at scale.

`python -m benchmarks.speed` runs all of it and prints tables in Markdown; `--help` lists the parts.
"""
