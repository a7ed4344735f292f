"""Settings of every process of the fault bench. What differs from run to run comes in through the environment."""

import json
import os
from importlib.util import find_spec

from tests.settings import DATABASES, TEMPLATES

__all__ = ["DATABASES", "TEMPLATES"]

SECRET_KEY = os.environ.get("CHAOS_SECRET_KEY", "fault-bench-only-secret-key-with-enough-characters")
SECRET_KEY_FALLBACKS = json.loads(os.environ.get("CHAOS_SECRET_KEY_FALLBACKS", "[]"))
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "benchmarks.chaos.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    *(["django_q"] if find_spec("django_q") else []),
    "django_webpush_kit",
]

LEASE_SECONDS = 3
CHUNK_SIZE = 20
MAX_IN_FLIGHT = 8

# VAPID_PRIVATE_KEY stands in the environment, so that every process has the same key
WEBPUSH_KIT = {
    "VAPID_SUBJECT": "mailto:ops@example.com",
    "TRANSPORT": {"BACKEND": "auto", "OPTIONS": {"timeout": 1.0, "max_in_flight": MAX_IN_FLIGHT}},
    "TASK_BACKEND": "django_webpush_kit.task_backends.NullBackend",
    "ALLOW_PRIVATE_ENDPOINTS": True,
    "PUSH_SERVICES": ["*"],
    "LEASE_SECONDS": LEASE_SECONDS,
    "CHUNK_SIZE": CHUNK_SIZE,
    **json.loads(os.environ.get("CHAOS_KIT", "{}")),
}

REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
RABBITMQ = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
QUEUE = os.environ.get("CHAOS_QUEUE", "chaos")
SWEEP = "webpush-kit-sweep"

Q_CLUSTER = {
    "name": QUEUE,
    "workers": 2,
    "timeout": 10,
    "retry": 15,
    "guard_cycle": 0.3,
    "save_limit": -1,
    "log_level": os.environ.get("CHAOS_LOG_LEVEL", "WARNING"),
    **({"redis": REDIS} if os.environ.get("CHAOS_BROKER") == "redis" else {"orm": "default", "poll": 0.2}),
}
