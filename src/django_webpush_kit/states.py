"""States of an outbox row, lanes (the order of claiming), and types of events that browsers report."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class NotificationStatus(models.TextChoices):
    """The state of an outbox row. The docstring of `delivery.engine` shows the transitions."""

    PENDING = "pending", _("pending")
    SENDING = "sending", _("sending")
    SENT = "sent", _("sent")
    FAILED = "failed", _("failed")
    EXPIRED = "expired", _("expired")
    SUPPRESSED = "suppressed", _("suppressed")
    CANCELLED = "cancelled", _("cancelled")


UNFINISHED = (NotificationStatus.PENDING, NotificationStatus.SENDING)
"""States in which a worker still has work to do."""

ENDED_UNSENT = (
    NotificationStatus.FAILED,
    NotificationStatus.EXPIRED,
    NotificationStatus.SUPPRESSED,
    NotificationStatus.CANCELLED,
)
"""Final states of rows that no push service accepted."""


class Lane(models.IntegerChoices):
    """Workers claim lanes in this order. Rows whose lease lapsed twice are isolated: claimed one at a time."""

    HIGH = 0, _("high")
    NORMAL = 1, _("normal")
    LOW = 2, _("low")
    ISOLATED = 9, _("isolated")

    @classmethod
    def for_urgency(cls, urgency: str | None) -> Lane:
        """Return the lane of an urgency (RFC 8030, section 5.3); None means "normal"."""
        return _LANES[urgency or "normal"]


_LANES = {"high": Lane.HIGH, "normal": Lane.NORMAL, "low": Lane.LOW, "very-low": Lane.LOW}

LANES = (Lane.HIGH, Lane.NORMAL, Lane.LOW)
"""The lanes without the isolated one, most urgent first."""


class ActionType(models.TextChoices):
    """The type of an event that a browser reports about a notification."""

    DELIVERED = "delivered", _("delivered")
    CLICKED = "clicked", _("clicked")
    DISMISSED = "dismissed", _("dismissed")
    ACTION_CLICKED = "action_clicked", _("action clicked")


UNSUBSCRIBED = "unsubscribed"
"""The deactivation reason of browsers that unsubscribed."""
