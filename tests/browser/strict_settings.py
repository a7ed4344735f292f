"""Settings of the example site with the pages of `strict_site`."""

from config.settings import *  # noqa: F403  # a settings module is its names
from config.settings import MIDDLEWARE

MIDDLEWARE = ["tests.browser.strict_site.content_security_policy", *MIDDLEWARE]
ROOT_URLCONF = "tests.browser.strict_site"
