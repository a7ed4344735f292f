"""Settings of the example site with the pages of `lab_site`. The environment says what a test changes between runs."""

import os

from config.settings import *  # noqa: F403  # a settings module is its names
from config.settings import ALLOWED_HOSTS, MIDDLEWARE, WEBPUSH_KIT

ROOT_URLCONF = "tests.browser.lab_site"
ALLOWED_HOSTS = [*ALLOWED_HOSTS, "insecure.test"]
MIDDLEWARE = ["tests.browser.lab_site.front_end_access", *MIDDLEWARE]
WEBPUSH_KIT = {
    **WEBPUSH_KIT,
    "SERVICE_WORKER_SCOPE": os.environ.get("TEST_SCOPE", "/"),
    "AUTHENTICATORS": [
        "tests.browser.lab_site.bearer",
        "django_webpush_kit.api.authentication.session",
    ],
}
FRONT_END = os.environ.get("TEST_FRONT_END", "")
if FRONT_END:
    WEBPUSH_KIT["BASE_URL"] = FRONT_END
    WEBPUSH_KIT["API_PATH"] = os.environ["TEST_API"]
