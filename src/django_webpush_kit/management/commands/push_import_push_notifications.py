"""`manage.py push_import_push_notifications`: take over the Web Push devices of django-push-notifications."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.views.decorators.debug import sensitive_variables

from django_webpush_kit.management.importing import ImportCommand, known_key_id, newest_first
from django_webpush_kit.subscriptions.importing import ForeignSubscription

SETTING = 'PUSH_NOTIFICATIONS_SETTINGS["WP_PRIVATE_KEY"]'


class Command(ImportCommand):
    """Store the library's active Web Push devices; its tables stay as they are."""

    help = (
        "Take over the active Web Push devices of django-push-notifications. Its tables are only read; what is known "
        "already is left alone. Devices of APNs, GCM and WNS are no matter of Web Push."
    )
    app_label = "push_notifications"
    model_name = "WebPushDevice"

    def found(self, model: Any) -> Iterator[ForeignSubscription]:
        """The active devices; each application has a key of its own."""
        key_of = cache(_key_id)
        for device in newest_first(model._default_manager.filter(active=True)):
            yield ForeignSubscription(
                source=f"WebPushDevice {device.pk}",
                endpoint=_endpoint(device),
                p256dh=device.p256dh,
                auth=device.auth,
                vapid_key_id=key_of(device.application_id),
                user_id=device.user_id,
            )


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
    """The endpoint's URL; old devices have only its last part, to be put behind the setting WP_POST_URL."""
    from push_notifications.webpush import get_subscription_info

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = get_subscription_info(device.application_id, device.registration_id, device.browser, "", "")
        except (KeyError, ImproperlyConfigured):  # no URL for this browser: the row is refused
            return str(device.registration_id)
    return str(found["endpoint"])
