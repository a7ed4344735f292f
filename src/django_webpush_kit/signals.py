"""Signals that your project can receive. If a receiver raises, the error is logged and the work continues.

If a receiver of `pre_send` raises, its notification fails, because the message may be incomplete.

`subscription_created`      sender=model, subscription, reason ("new", "reactivated" or "new_owner")
`subscription_deactivated`  sender=model, subscription, reason
`notifications_queued`      sender=model, batch (UUID), result (SendResult, or the PushBroadcast once it is fanned out)
`pre_send`                  sender=model, notification, message (may be changed); returning False cancels the row
`post_send`                 sender=model, notification, outcome (str), answer (protocol.responses.Answer)
`event_recorded`            sender=model, notification, event ("delivered", "clicked", ...), analytics
"""

import logging
from typing import Any

from django.dispatch import Signal

subscription_created = Signal()
subscription_deactivated = Signal()
notifications_queued = Signal()
pre_send = Signal()
post_send = Signal()
event_recorded = Signal()

NEW = "new"
REACTIVATED = "reactivated"
NEW_OWNER = "new_owner"

_logger = logging.getLogger(__name__)


def emit(signal: Signal, sender: Any, **arguments: Any) -> list[Any]:
    """Send a signal, log exceptions of its receivers, and return the results of the others."""
    results = []
    for receiver, response in signal.send_robust(sender, **arguments):
        if isinstance(response, Exception):
            _logger.error("Receiver %r raised", receiver, exc_info=response)
        else:
            results.append(response)
    return results
