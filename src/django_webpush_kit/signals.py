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

from django_webpush_kit.error_reports import log_error

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
    try:
        responses = signal.send_robust(sender, **arguments)
    except Exception as error:  # noqa: BLE001 - Django logs what receivers raise, and a log handler may raise, too
        log_error(_logger, "Calling the receivers of a signal was cut short", error=error)
        return []
    for receiver, response in responses:
        if isinstance(response, Exception):
            log_error(_logger, "Receiver %r raised", receiver, error=response)
        else:
            results.append(response)
    return results
