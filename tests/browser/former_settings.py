"""Settings of the example site beside django-webpush, whose service worker and subscriptions browsers still have."""

from config.settings import *  # noqa: F403  # a settings module is its names
from config.settings import INSTALLED_APPS, VAPID_KEY_FILE, WEBPUSH_KIT

from django_webpush_kit.protocol.vapid import VapidKey

INSTALLED_APPS = [*INSTALLED_APPS, "webpush"]
ROOT_URLCONF = "tests.browser.former_site"
WEBPUSH_SETTINGS = {
    "VAPID_PUBLIC_KEY": VapidKey.load(VAPID_KEY_FILE).public_key,
    "VAPID_PRIVATE_KEY": str(VAPID_KEY_FILE),
    "VAPID_ADMIN_EMAIL": "studio@example.com",
}
WEBPUSH_KIT = {**WEBPUSH_KIT, "SERVICE_WORKER_SCOPE": "/webpush/"}
