"""Settings of every process of the speed bench. What differs from run to run comes in through the environment."""

import os
from importlib.util import find_spec

SECRET_KEY = "speed-bench-only-secret-key-with-enough-characters"
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "benchmarks.speed.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    *(name for name in ("webpush", "push_notifications") if find_spec(name)),
    "django_webpush_kit",
]

_NAME = os.environ.get("BENCH_DATABASE_NAME", "")
DATABASES = {
    "default": {
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _NAME,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        },
        "postgresql": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _NAME,
            "USER": os.environ.get("BENCH_POSTGRESQL_USER", "postgres"),
            "PASSWORD": os.environ.get("BENCH_POSTGRESQL_PASSWORD", ""),
            "HOST": os.environ.get("BENCH_POSTGRESQL_HOST", "127.0.0.1"),
        },
    }[os.environ.get("BENCH_DATABASE", "sqlite")]
}

# the private key stands in the environment, so that every process has the same one
VAPID_PRIVATE_KEY = os.environ.get("VAPID_PRIVATE_KEY", "")
CA_BUNDLE = os.environ.get("BENCH_CA", "")
CONTACT = "ops@example.com"

WEBPUSH_KIT = {
    "VAPID_SUBJECT": f"mailto:{CONTACT}",
    "TRANSPORT": {
        "BACKEND": f"django_webpush_kit.transports.{os.environ.get('BENCH_TRANSPORT', 'CurlTransport')}",
        "OPTIONS": {"ca_bundle": CA_BUNDLE} if CA_BUNDLE else {},
    },
    "TASK_BACKEND": "django_webpush_kit.task_backends.NullBackend",
    "ALLOW_PRIVATE_ENDPOINTS": True,
}
WEBPUSH_SETTINGS = {"VAPID_PRIVATE_KEY": VAPID_PRIVATE_KEY, "VAPID_PUBLIC_KEY": "", "VAPID_ADMIN_EMAIL": CONTACT}
PUSH_NOTIFICATIONS_SETTINGS = {
    "WP_PRIVATE_KEY": VAPID_PRIVATE_KEY,
    "WP_CLAIMS": {"sub": f"mailto:{CONTACT}"},
    "WP_ERROR_TIMEOUT": 30,
}
