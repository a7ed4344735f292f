"""Settings of the booking studio: SQLite, django-q2 with its queue in the same database, keys from a file.

The demo, `make serve` and the browser tests set a few environment variables; their names begin with STUDIO_.
"""

import os
from importlib.util import find_spec
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent

DATA_DIR = Path(os.environ.get("STUDIO_DATA", PROJECT_DIR.parent / ".demo"))
"""What the site writes: the database and the VAPID key."""
DATA_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = os.environ.get("STUDIO_SECRET_KEY", "an-example-only-make-your-own-0123456789-abcdefghijklmnopqrstuvwxyz")
DEBUG = os.environ.get("STUDIO_DEBUG", "1") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_q",
    "django_webpush_kit",
    "studio",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.csp.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

# ports share cookies: with the default name, signing in here would sign out of another project on localhost
SESSION_COOKIE_NAME = "studio_session"

ROOT_URLCONF = "config.urls"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "courses"
LOGOUT_REDIRECT_URL = "courses"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.i18n",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "db.sqlite3",
        # the site and the cluster write at the same time: take the lock at the start of a transaction, and wait for it
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
TIME_ZONE = "Europe/Berlin"
USE_TZ = True
STATIC_URL = "/static/"

# django-q2 on the ORM broker: the queue is a table of the same database, no other service is needed
Q_CLUSTER = {
    "name": "studio",
    "orm": "default",
    "workers": 2,
    "timeout": 60,
    "retry": 300,
    "poll": 0.2,
    "catch_up": False,
    "label": "Django Q2",
}

VAPID_KEY_FILE = DATA_DIR / "vapid.pem"
WEBPUSH_KIT = {
    "VAPID_PRIVATE_KEY": str(VAPID_KEY_FILE) if VAPID_KEY_FILE.exists() else "",
    "VAPID_SUBJECT": "mailto:studio@example.com",
    "TASK_BACKEND": "django_webpush_kit.task_backends.DjangoQBackend",
    "TRANSPORT": os.environ.get("STUDIO_TRANSPORT", "auto"),
    "NOTIFICATION_TYPES": {
        "booking_confirmed": {"label": "Confirmations"},
        "booking_reminder": {"label": "Reminders"},
        "course_moved": {"label": "Changes of time"},
        "studio_news": {"label": "News from the studio"},  # broadcast from the admin
    },
    # only for the sample history (studio/sample_history.py)
    "AUDIENCES": {"sample": "studio.sample_history.members"},
    # a shared computer: who logs out gets nothing there any more
    "DETACH_ON_LOGOUT": True,
    # only for the demo and the tests, whose push service runs on this machine
    "ALLOW_PRIVATE_ENDPOINTS": os.environ.get("STUDIO_ALLOW_PRIVATE_ENDPOINTS") == "1",
    "RETRY_BASE_SECONDS": float(os.environ.get("STUDIO_RETRY_SECONDS", "30")),
}

# Optional, for an app without cookies: with djangorestframework and djangorestframework-simplejwt installed, the API
# also takes "Authorization: Bearer ...", and /api/token/ gives out the tokens.
HAS_TOKENS = find_spec("rest_framework_simplejwt") is not None
if HAS_TOKENS:
    INSTALLED_APPS += ["rest_framework"]
    REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]}
    WEBPUSH_KIT["AUTHENTICATORS"] = [
        "django_webpush_kit.api.authentication.session",
        "django_webpush_kit.contrib.rest_framework.authenticate",
    ]
