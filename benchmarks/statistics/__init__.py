"""The statistics bench: daily statistics and the admin's page over a large outbox, on any database.

`python -m benchmarks.statistics` fills a database of its own, counts every day, opens the page, deletes old rows,
prints the figures and which queries read whole tables, and drops the database. `--help` lists the options.
"""
