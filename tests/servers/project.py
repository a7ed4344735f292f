"""A small project for real web servers: each request to /send/ sends one notification within the request.

`python -m tests.servers.project COMMAND` is its manage.py, with one more command: `subscribe ENDPOINT P256DH AUTH`.
"""

import json
import os
import sys
import threading
from pathlib import Path

import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import path

if not settings.configured:
    settings.configure(
        SECRET_KEY="tests-of-web-servers-only-with-enough-characters",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="tests.servers.project",
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_webpush_kit"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ["PROJECT_DATABASE"],
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                    "init_command": "PRAGMA journal_mode=WAL;",
                },
            }
        },
        WEBPUSH_KIT=json.loads(os.environ["PROJECT_WEBPUSH_KIT"]),
    )
    django.setup()

from django.contrib.auth import get_user_model  # after the settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from django_webpush_kit import services
from django_webpush_kit.models import get_notification_model, get_subscription_model

asgi = get_asgi_application()
wsgi = get_wsgi_application()


def send(request):
    result = services.send(get_subscription_model().objects.get(), "Hello")
    return JsonResponse({"status": result.notifications.get().status})


def usage(request):
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return JsonResponse(
        {
            "process": os.getpid(),
            "threads": len(list(Path("/proc/self/task").iterdir())),
            "python_threads": threading.active_count(),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "megabytes": resident / 2**20,
            "sent": get_notification_model().objects.filter(status="sent").count(),
            "users": get_user_model().objects.count(),
        }
    )


urlpatterns = [path("send/", send), path("usage/", usage)]


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    if sys.argv[1] == "subscribe":
        endpoint, p256dh, auth = sys.argv[2:]
        services.subscribe(endpoint=endpoint, p256dh=p256dh, auth=auth)
    else:
        execute_from_command_line(sys.argv)
