"""The test settings with all four models swapped: `pytest --ds=tests.settings_swapped`."""

from tests.settings import *  # noqa: F403  # the whole of it
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.swapped"]
WEBPUSH_KIT_SUBSCRIPTION_MODEL = "swapped.Browser"
WEBPUSH_KIT_TEMPLATE_MODEL = "swapped.Wording"
WEBPUSH_KIT_NOTIFICATION_MODEL = "swapped.Letter"
WEBPUSH_KIT_ANALYTICS_MODEL = "swapped.Reaction"
