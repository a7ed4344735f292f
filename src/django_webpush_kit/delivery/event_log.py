"""Log when a push service is paused, refuses our credentials, or limits the rate."""

from __future__ import annotations

import logging
from datetime import datetime

from django_webpush_kit.error_reports import log_event

_logger = logging.getLogger(__name__)


def log_breaker(
    push_service: str, vapid_key_id: str, before: datetime | None, until: datetime | None, reason: str
) -> None:
    """Log that a breaker opened, extended its pause or closed. `before` and `until` are ends of its pause, or None."""
    if before == until:
        return
    fields = {"push_service": push_service, "vapid_key_id": vapid_key_id}
    if until is None:
        log_event(_logger, logging.INFO, "webpush.breaker_closed", "%s accepts messages again", push_service, **fields)
        return
    fields |= {"reason": reason, "until": until.isoformat()}
    if before is not None:
        text = "%s is still paused (%s); next probe at %s"
        log_event(_logger, logging.INFO, "webpush.probe_failed", text, push_service, reason, fields["until"], **fields)
    elif reason.startswith("credentials"):
        text = "%s refuses the VAPID key %s for all subscriptions (%s). Check the key pair and VAPID_SUBJECT."
        log_event(_logger, logging.ERROR, "webpush.alarm", text, push_service, vapid_key_id, reason, **fields)
    else:
        text = "%s is paused (%s); next probe at %s"
        log_event(
            _logger, logging.WARNING, "webpush.breaker_opened", text, push_service, reason, fields["until"], **fields
        )


def log_rate(push_service: str, per_minute: float) -> None:
    """Log that a rate was learned from throttling."""
    text = "%s throttles: at most %d messages a minute are sent to it from now on"
    log_event(
        _logger,
        logging.WARNING,
        "webpush.rate_learned",
        text,
        push_service,
        per_minute,
        push_service=push_service,
        per_minute=round(per_minute),
    )


def log_pause(push_service: str, *, is_paused: bool) -> None:
    """Log that an operator paused or resumed a push service; "" stands for all."""
    name = push_service or "all push services"
    level, event, text = (
        (logging.WARNING, "webpush.paused", "Sending to %s is paused by hand")
        if is_paused
        else (logging.INFO, "webpush.resumed", "Sending to %s goes on")
    )
    log_event(_logger, level, event, text, name, push_service=push_service)
