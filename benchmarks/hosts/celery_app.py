"""The Celery application of the bench: that of the fault bench, as the how-to on several machines has it."""

from benchmarks.chaos.celery_app import app

app.conf.update(broker_heartbeat=10, worker_enable_remote_control=False)
