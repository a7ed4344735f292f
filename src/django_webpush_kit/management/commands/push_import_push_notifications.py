"""`manage.py push_import_push_notifications`: import the Web Push devices of django-push-notifications."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.functional import cached_property
from django.views.decorators.debug import sensitive_variables

from django_webpush_kit.management.importing import ImportCommand, known_key_id, newest_first
from django_webpush_kit.subscriptions.importing import ForeignSubscription

SETTING = 'PUSH_NOTIFICATIONS_SETTINGS["WP_PRIVATE_KEY"]'


class Command(ImportCommand):
    """Import the active Web Push devices of django-push-notifications without changing its tables."""

    help = (
        "Import the active Web Push devices of django-push-notifications. Its tables are only read; subscriptions "
        "imported before are not changed. APNs, GCM and WNS devices are skipped."
    )
    app_label = "push_notifications"
    model_name = "WebPushDevice"

    def rows(self, model: Any) -> Iterator[Any]:
        """Yield the active devices, newest first."""
        return newest_first(model._default_manager.filter(active=True))

    def source_of(self, row: Any) -> str:
        """Return the name of the device."""
        return f"WebPushDevice {row.pk}"

    def read(self, row: Any) -> ForeignSubscription:
        """Convert one device. Each application of that library has its own key."""
        return ForeignSubscription(
            source=self.source_of(row),
            endpoint=_endpoint(row),
            p256dh=row.p256dh,
            auth=row.auth,
            vapid_key_id=self._key_of(row.application_id),
            user_id=row.user_id,
        )

    @cached_property
    def _key_of(self) -> Callable[[str | None], str]:
        return cache(_key_id)


@sensitive_variables()
def _key_id(application: str | None) -> str:
    from push_notifications.conf import get_manager

    manager: Any = get_manager()
    setting = f"{SETTING} of the application {application!r}" if application else SETTING
    try:
        private_key = manager.get_wp_private_key(application)
    except ImproperlyConfigured as error:
        raise CommandError(f"{setting}: {error}") from None
    return known_key_id(private_key, setting)


def _endpoint(device: Any) -> str:
    """Return the endpoint's URL. Old devices store only its last part; the setting WP_POST_URL holds the rest."""
    from push_notifications.webpush import get_subscription_info

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = get_subscription_info(device.application_id, device.registration_id, device.browser, "", "")
        except (KeyError, ImproperlyConfigured):  # no URL for this browser: the row is refused
            return str(device.registration_id)
    return str(found["endpoint"])
