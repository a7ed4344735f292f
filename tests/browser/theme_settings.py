"""Settings of the example site with an admin theme of another package, which needs scripts and styles in its pages."""

import os

from config.settings import *  # noqa: F403  # a settings module is its names
from config.settings import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [os.environ["STUDIO_THEME"], *INSTALLED_APPS]
MIDDLEWARE = [name for name in MIDDLEWARE if name != "config.csp.content_security_policy"]

JAZZMIN_UI_TWEAKS = {"default_theme_mode": "auto"}
"""The theme follows the colour scheme of the browser, as the others do."""
