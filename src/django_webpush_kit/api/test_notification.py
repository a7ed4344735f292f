"""The test notification that users send to their own browsers."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from django_webpush_kit import services
from django_webpush_kit.outbox.batches import SendResult


def send_test(subscription: Any) -> SendResult:
    """Queue a test notification for one subscription, regardless of its preferences."""
    return services.send(
        subscription,
        _("Test notification"),
        _("Push notifications reach this browser."),
        critical=True,
        ttl=300,
        urgency="high",
        tag="webpush-kit-test",
    )
