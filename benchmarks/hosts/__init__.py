"""The bench of several machines: Celery, RabbitMQ and PostgreSQL, each on a host of its own, and hosts full of workers.

A host is a network namespace, so one machine is enough: `python -m benchmarks.hosts`, as root.
"""
