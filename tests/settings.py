"""Settings of the test suite.

`TEST_DATABASE` picks the database: sqlite (default), postgresql, mariadb or mysql. `TEST_DATABASE_NAME` names the
database of a process that a test starts beside itself; the test database itself has a name of its own for each run.
"""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

from django_webpush_kit.protocol.vapid import generate_vapid_keys

SECRET_KEY = "tests-only-secret-key-with-enough-characters-0123456789"
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    *(["django_q"] if find_spec("django_q") else []),
    "django_webpush_kit",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_NAME = os.environ.get("TEST_DATABASE_NAME")
_RUN = f"test_webpush_kit_{os.getpid()}"
DATABASES = {
    "default": {
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _NAME or "tests.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
            },
            # a file, not memory: threads and child processes of a test see the same data
            "TEST": {"NAME": str(Path(tempfile.gettempdir()) / f"{_RUN}.sqlite3")},
        },
        "postgresql": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _NAME or "webpush_kit",
            "USER": os.environ.get("TEST_POSTGRESQL_USER", "postgres"),
            "PASSWORD": os.environ.get("TEST_POSTGRESQL_PASSWORD", ""),
            "HOST": os.environ.get("TEST_POSTGRESQL_HOST", "127.0.0.1"),
            "PORT": os.environ.get("TEST_POSTGRESQL_PORT", ""),
            "TEST": {"NAME": _RUN},
        },
        **{
            name: {
                "ENGINE": "django.db.backends.mysql",
                "NAME": _NAME or "webpush_kit",
                "USER": os.environ.get(f"TEST_{name.upper()}_USER", "root"),
                "PASSWORD": os.environ.get(f"TEST_{name.upper()}_PASSWORD", ""),
                "HOST": os.environ.get(f"TEST_{name.upper()}_HOST", "127.0.0.1"),
                "PORT": os.environ.get(f"TEST_{name.upper()}_PORT", ""),
                "OPTIONS": {"charset": "utf8mb4"},
                "TEST": {"NAME": _RUN, "CHARSET": "utf8mb4", "COLLATION": "utf8mb4_bin"},
            }
            for name in ("mariadb", "mysql")
        },
    }[os.environ.get("TEST_DATABASE", "sqlite")]
}

Q_CLUSTER = {"name": "tests", "orm": "default", "workers": 1, "timeout": 30, "retry": 120, "sync": False}

_KEYS = generate_vapid_keys()
WEBPUSH_KIT = {
    "VAPID_PRIVATE_KEY": _KEYS["private_key"],
    "VAPID_SUBJECT": "mailto:ops@example.com",
    "TRANSPORT": "django_webpush_kit.transports.LocmemTransport",
    "TASK_BACKEND": "django_webpush_kit.task_backends.NullBackend",
}
