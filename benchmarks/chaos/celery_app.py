"""The Celery application of the fault bench."""

import os

from celery import Celery

from benchmarks.chaos import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.chaos.settings")

app = Celery("chaos", broker=settings.RABBITMQ if os.environ.get("CHAOS_BROKER") == "rabbitmq" else settings.REDIS)
app.conf.update(
    task_default_queue=settings.QUEUE,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    beat_schedule={settings.SWEEP: {"task": "send_scheduled_notifications", "schedule": 1.0}},
)
app.set_default()
app.autodiscover_tasks(["django_webpush_kit"])
