"""Settings of the example site with the pages of `pages_site`."""

from config.settings import *  # noqa: F403  # a settings module is its names

ROOT_URLCONF = "tests.browser.pages_site"
