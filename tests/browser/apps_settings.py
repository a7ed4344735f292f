"""Settings of the example site behind a single-page app: those of the how-to pages, with the origins of a test.

Environment: APP_ORIGIN, where the pages are; APP_API_ORIGIN, where a page finds the API: the same, where a proxy passes
/api on to Django; APP_API_BASE, the path below which the proxy has /api, if any.
"""

import os

from config.settings import *  # noqa: F403  # a settings module is its names
from config.settings import WEBPUSH_KIT

from tests.browser.documented import settings_blocks

ROOT_URLCONF = "tests.browser.apps_site"
# the apps say themselves who leaves
WEBPUSH_KIT["DETACH_ON_LOGOUT"] = False

PAGES, API = os.environ["APP_ORIGIN"], os.environ["APP_API_ORIGIN"]
pages = ["single-page-apps"] if PAGES == API else ["another-origin", "rest-framework"]
for code in (settings_blocks(page)[0] for page in pages):
    exec(  # our own documentation
        code.replace("https://www.example.com", PAGES)
        .replace("https://app.example.com", PAGES)
        .replace("https://api.example.com", API)
        .replace('"/api/v1/push/"', f'"{os.environ["APP_API_BASE"]}/api/v1/push/"')
    )
