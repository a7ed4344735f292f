"""The bench of the admin's lists: every list, filter, search and detail page over a large outbox, on any database.

`python -m benchmarks.lists` fills a database of its own, opens each page, prints its time, its queries and the
statements that read a whole table, and drops the database. `--help` lists the options.
"""
