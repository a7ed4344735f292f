"""Settings of the typed project: two models swapped, a transport and a task backend of its own."""

from tests.settings_mypy import *  # noqa: F403  # settings extend others
from tests.settings_mypy import INSTALLED_APPS, WEBPUSH_KIT

INSTALLED_APPS = [*INSTALLED_APPS, "tests.typing.shop"]
WEBPUSH_KIT_SUBSCRIPTION_MODEL = "shop.Browser"
WEBPUSH_KIT_NOTIFICATION_MODEL = "shop.Letter"
WEBPUSH_KIT = {
    **WEBPUSH_KIT,
    "TRANSPORT": "tests.typing.shop.transports.PrintingTransport",
    "TASK_BACKEND": "tests.typing.shop.task_backends.LoggingBackend",
}
