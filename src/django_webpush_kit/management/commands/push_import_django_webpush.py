"""`manage.py push_import_django_webpush`: take over the subscriptions of django-webpush."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.conf import settings

from django_webpush_kit.management.importing import ImportCommand, known_key_id, newest_first
from django_webpush_kit.subscriptions.importing import ForeignSubscription

SETTING = 'WEBPUSH_SETTINGS["VAPID_PRIVATE_KEY"]'


class Command(ImportCommand):
    """Store django-webpush's subscriptions; its tables stay as they are."""

    help = (
        "Take over the subscriptions of django-webpush. Its tables are only read; what is known already is left alone. "
        "A subscription that is only in groups becomes one without a user."
    )
    app_label = "webpush"
    model_name = "PushInformation"

    def found(self, model: Any) -> Iterator[ForeignSubscription]:
        """Those of users first: the same browser may be in a group, too."""
        key_id = known_key_id(getattr(settings, "WEBPUSH_SETTINGS", {}).get("VAPID_PRIVATE_KEY"), SETTING)
        rows = model._default_manager.select_related("subscription")
        for row in chain(newest_first(rows.exclude(user=None)), newest_first(rows.filter(user=None))):
            theirs = row.subscription
            yield ForeignSubscription(
                source=f"SubscriptionInfo {theirs.pk}",
                endpoint=theirs.endpoint,
                p256dh=theirs.p256dh,
                auth=theirs.auth,
                vapid_key_id=key_id,
                user_id=row.user_id,
                user_agent=theirs.user_agent,
            )
