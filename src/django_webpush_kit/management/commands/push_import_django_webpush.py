"""`manage.py push_import_django_webpush`: import the subscriptions of django-webpush."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.conf import settings

from django_webpush_kit.management.importing import ImportCommand, known_key_id, newest_first
from django_webpush_kit.subscriptions.importing import ForeignSubscription

SETTING = 'WEBPUSH_SETTINGS["VAPID_PRIVATE_KEY"]'


class Command(ImportCommand):
    """Import django-webpush's subscriptions without changing its tables."""

    help = (
        "Import the subscriptions of django-webpush. Its tables are only read; subscriptions imported before are not "
        "changed. A subscription that belongs to groups only is imported without a user."
    )
    app_label = "webpush"
    model_name = "PushInformation"

    def rows(self, model: Any) -> Iterator[Any]:
        """Yield subscriptions of users first, because the same browser may also be in a group."""
        self._key_id = known_key_id(getattr(settings, "WEBPUSH_SETTINGS", {}).get("VAPID_PRIVATE_KEY"), SETTING)
        rows = model._default_manager.select_related("subscription")
        return chain(newest_first(rows.exclude(user=None)), newest_first(rows.filter(user=None)))

    def source_of(self, row: Any) -> str:
        """Return the name of the row that holds the browser's endpoint."""
        return f"SubscriptionInfo {row.subscription_id}"

    def read(self, row: Any) -> ForeignSubscription:
        """Convert one row."""
        theirs = row.subscription
        return ForeignSubscription(
            source=self.source_of(row),
            endpoint=theirs.endpoint,
            p256dh=theirs.p256dh,
            auth=theirs.auth,
            vapid_key_id=self._key_id,
            user_id=row.user_id,
            user_agent=theirs.user_agent,
        )
