"""The fault bench: real processes, databases, queues and faults, tried against "nothing is lost".

`python -m benchmarks.chaos` runs all of it, prints a table and exits with 1 when a promise breaks.
"""
