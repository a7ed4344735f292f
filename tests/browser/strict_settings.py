"""Settings of the example site with the pages of `strict_site`, its static files collected under hashed names."""

from config.settings import *  # noqa: F403  # a settings module is its names
from config.settings import DATA_DIR, MIDDLEWARE

MIDDLEWARE = ["tests.browser.strict_site.content_security_policy", *MIDDLEWARE]
DEBUG = False
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {"staticfiles": {"BACKEND": "tests.hashed_files.HashedOnlyStorage"}}
ROOT_URLCONF = "tests.browser.strict_site"
