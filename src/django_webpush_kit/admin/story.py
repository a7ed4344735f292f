"""The story of one notification in words: what happened to it, why, and what happens next.

`tell` is a pure function: row, events and time -> `Story`. It reads no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.formats import time_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_webpush_kit import attempt_log
from django_webpush_kit.admin.contained import EXACT_TIME_FORMAT, exact, local, shifted
from django_webpush_kit.attempt_log import Attempt, Step
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.lifetime import deadline
from django_webpush_kit.outbox.rows import QUIET_HOURS
from django_webpush_kit.states import ENDED_UNSENT, ActionType, NotificationStatus

SERVICE_NAMES = {
    "fcm.googleapis.com": "FCM",
    "updates.push.services.mozilla.com": "Mozilla",
    "push.apple.com": "Apple",
    "notify.windows.com": "WNS",
}
"""Short names of the push services of the major browsers."""

PLANNED_AFTER = timedelta(seconds=1)
"""A notification scheduled less than this after it was queued counts as sent at once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the story. `kind` is "step", "wait", "trouble" or "success"; `at` is None if unknown."""

    at: datetime | None
    text: str
    kind: str = "step"


@dataclass(frozen=True, slots=True)
class Story:
    """The lines, oldest first; why it was not sent or shown, or ""; and sentences that say what happens next."""

    entries: list[Entry]
    why: str
    outlook: list[str]


def tell(row: Any, events: Iterable[Any], *, now: datetime, origin: str = "") -> Story:
    """Return the story of an outbox row. `origin` names what queued it, such as 'the broadcast "news"'."""
    reported = sorted(events, key=lambda event: event.timestamp)
    steps = attempt_log.attempts(row.attempt_log)
    entries = [
        *_beginning(row, origin),
        *_attempts(row, steps, now),
        *_end(row, steps),
        *_reported(row, reported),
    ]
    return Story(entries, _why(row), list(_outlook(row, reported, now)))


def row_options(row: Any) -> RowOptions:
    """Return the stored options of a row, or the defaults if they cannot be read."""
    try:
        return RowOptions.from_json(row.options)
    except Exception:  # noqa: BLE001 - stored data may be anything; `browser_view.payload_of` shows the error
        return RowOptions()


def service_name(row: Any) -> str:
    """Return the short name of the row's push service."""
    host = row.subscription.push_service
    return SERVICE_NAMES.get(host, host) or _("The push service")


def duration(seconds: float) -> str:
    """Return a duration in at most two units: "42 s", "3 min", "2 h 5 min", "3 d 4 h"."""
    whole = max(0, round(seconds))
    units = ((86_400, _("%d d")), (3600, _("%d h")), (60, _("%d min")), (1, _("%d s")))
    parts: list[str] = []
    for size, text in units:
        if whole >= size and len(parts) < 2:
            parts.append(text % (whole // size))
            whole %= size
        elif parts:
            break
    return " ".join(parts) or _("%d s") % 0


def clock(moment: datetime, beside: datetime) -> str:
    """Return a moment as text: its time of day if it is on the same day as `beside`, else date and time."""
    shown = local(moment)
    is_same_day = shown.date() == local(beside).date()
    return time_format(shown.time(), EXACT_TIME_FORMAT) if is_same_day else exact(moment)


def _beginning(row: Any, origin: str) -> Iterator[Entry]:
    yield Entry(row.created_at, _("Queued by %(origin)s") % {"origin": origin} if origin else _("Queued"))
    if row.scheduled_for is not None and row.scheduled_for - row.created_at >= PLANNED_AFTER:
        text = _("Scheduled for %(moment)s") % {"moment": clock(row.scheduled_for, row.created_at)}
        yield Entry(row.created_at, text, "wait")


def _attempts(row: Any, steps: Sequence[Attempt], now: datetime) -> Iterator[Entry]:
    if attempt_log.is_cut(row.attempt_log):
        yield Entry(None, _("Earlier steps are not kept"))
    position = 0
    while position < len(steps):
        step = steps[position]
        repeated = 1
        while _is_repeated(step, steps[position + repeated : position + repeated + 1]):
            repeated += 1
        last = steps[position + repeated - 1]
        yield _attempt(row, step, last, repeated, _next_try(row, steps[position + repeated :]), now)
        position += repeated


def _is_repeated(step: Attempt, following: Sequence[Attempt]) -> bool:
    """Whether the row waited once more for the same reason."""
    return step.step is Step.WAIT and bool(following) and following[0][1:4] == step[1:4]


def _next_try(row: Any, following: Sequence[Attempt]) -> datetime | None:
    """The time of the next answer, if there was one."""
    return next((step.at for step in following if step.step is Step.ANSWER), row.sent_at)


def _attempt(row: Any, step: Attempt, last: Attempt, repeated: int, next_try: datetime | None, now: datetime) -> Entry:
    if step.step is Step.WAIT:
        return Entry(step.at, _waited(step, last, repeated), "wait")
    if step.step is Step.ANSWER:
        return Entry(step.at, _answered(row, step, next_try, now), "trouble")
    texts = {
        Step.LAPSE: _("A worker took it and did not report an outcome; it is sent again"),
        Step.RETRY: _("Queued again after it had failed"),
        Step.CANCEL: _("Cancelled: %(reason)s") % {"reason": step.reason},
        Step.END: _("Not sent: %(reason)s") % {"reason": step.reason},
    }
    return Entry(step.at, texts[step.step], "step" if step.step is Step.RETRY else "trouble")


def _waited(step: Attempt, last: Attempt, repeated: int) -> str:
    until = clock(last.until, step.at) if last.until else "?"
    if step.reason == QUIET_HOURS:
        text = _("Waited for the end of quiet hours, until %(until)s") % {"until": until}
    else:
        text = _("Postponed until %(until)s: %(reason)s") % {"until": until, "reason": step.reason}
    if repeated > 1:
        text += " " + ngettext("(%(count)d time)", "(%(count)d times)", repeated) % {"count": repeated}
    return text


def _answered(row: Any, step: Attempt, next_try: datetime | None, now: datetime) -> str:
    names = {"service": service_name(row), "status": step.status, "reason": step.reason}
    if step.status is None:
        text = _("%(service)s did not answer (%(reason)s)") % names
    elif step.reason in ("", f"HTTP {step.status}"):
        text = _("%(service)s answered %(status)s") % names
    else:
        text = _("%(service)s answered %(status)s (%(reason)s)") % names
    if step.until is None:
        return text + _("; this was the last attempt")
    if next_try is not None and next_try >= step.at:
        return text + _(", tried again after %(wait)s") % {"wait": duration((next_try - step.at).total_seconds())}
    if row.status == NotificationStatus.PENDING and step.until > now:
        return text + _(", will be tried again after %(wait)s") % {
            "wait": duration((step.until - step.at).total_seconds())
        }
    return text


def _end(row: Any, steps: Sequence[Attempt]) -> Iterator[Entry]:
    if row.status == NotificationStatus.SENDING:
        yield Entry(None, _("A worker is sending it now"))
    elif row.status == NotificationStatus.SENT:
        names = {"service": service_name(row), "status": row.response_status}
        text = _("Accepted by %(service)s (HTTP %(status)s)") if row.response_status else _("Accepted by %(service)s")
        yield Entry(row.sent_at, text % names, "success")
    elif row.status in ENDED_UNSENT and not (steps and _is_final(steps[-1])):
        at = row.created_at if row.status == NotificationStatus.SUPPRESSED and not steps else None
        yield Entry(
            at, _("Not sent: %(reason)s") % {"reason": row.failure_reason or row.get_status_display()}, "trouble"
        )


def _is_final(step: Attempt) -> bool:
    return step.step in (Step.END, Step.CANCEL) or (step.step is Step.ANSWER and step.until is None)


def _reported(row: Any, events: Sequence[Any]) -> Iterator[Entry]:
    titles = {action["action"]: action["title"] for action in row_options(row).actions or ()}
    for event in events:
        if event.action_type == ActionType.DELIVERED:
            yield Entry(event.timestamp, _shown(row, event), "success")
        elif event.action_type == ActionType.ACTION_CLICKED:
            button = titles.get(event.action_id, event.action_id)
            yield Entry(event.timestamp, _("Clicked: %(button)s") % {"button": button}, "success")
        else:
            yield Entry(event.timestamp, _("Clicked") if event.action_type == ActionType.CLICKED else _("Dismissed"))


def _shown(row: Any, event: Any) -> str:
    """Browsers may report before the acceptance is recorded."""
    if row.sent_at is None:
        return _("Shown")
    seconds = (event.timestamp - row.sent_at).total_seconds()
    return _("Shown at once") if seconds < 1 else _("Shown after %(wait)s") % {"wait": duration(seconds)}


MEANINGS = (
    ("Quiet hours last", gettext_lazy("The message would have expired before the end of the user's quiet hours.")),
    ("Quiet hours", gettext_lazy("The user does not want to be disturbed at this time.")),
    ("Blocked by user preferences", gettext_lazy("The user switched this type of notification off.")),
    ("At most", gettext_lazy("The user got as many notifications of this type today as the type allows.")),
    ("The subscription is not active", gettext_lazy("The browser's subscription ended before the message was due.")),
    ("The subscription belongs to another user", gettext_lazy("Another user signed in on this browser.")),
    ("Superseded by", gettext_lazy("A newer notification with the same topic replaces it.")),
    ("Not sent before its deadline", gettext_lazy("No worker came in time, or the TTL is too short.")),
    ("Postponed past its deadline", gettext_lazy("It would have waited past its deadline.")),
    ("HTTP 404", gettext_lazy("The browser ended the subscription, so it was deactivated.")),
    ("HTTP 410", gettext_lazy("The browser ended the subscription, so it was deactivated.")),
    ("HTTP 413", gettext_lazy("The message is too large.")),
    ("HTTP 429", gettext_lazy("The push service limits the rate of messages.")),
    ("HTTP 401", gettext_lazy("The push service refuses the VAPID key. Run push_doctor to see what to do.")),
    ("HTTP 403", gettext_lazy("The push service refuses the VAPID key. Run push_doctor to see what to do.")),
    ("HTTP 5", gettext_lazy("The push service has a problem of its own.")),
    ("Quarantined", gettext_lazy("Workers crashed while sending it. Their logs may name the cause.")),
)
"""Explanations of reasons, by the start of the reason. The runbook in the documentation lists all reasons."""


def _why(row: Any) -> str:
    """Return the explanation of the current reason of the row."""
    if not row.failure_reason:
        return ""
    return next((str(text) for start, text in MEANINGS if row.failure_reason.startswith(start)), "")


def _outlook(row: Any, events: Sequence[Any], now: datetime) -> Iterator[str]:
    if row.status == NotificationStatus.PENDING:
        yield from _pending(row, now)
    elif row.status == NotificationStatus.SENDING:
        yield _("If the worker does not report by %(moment)s, another one sends it again.") % {
            "moment": clock(row.next_attempt_at, now)
        }
    elif row.status == NotificationStatus.SENT:
        if not events:
            yield from _not_reported(row, now)
    elif row.status == NotificationStatus.FAILED:
        yield _("It is not tried again by itself.")
    else:
        yield _("It will not be sent.")


def _pending(row: Any, now: datetime) -> Iterator[str]:
    if row.next_attempt_at > now:
        wait = duration((row.next_attempt_at - now).total_seconds())
        yield _("Due at %(moment)s, in %(wait)s.") % {"moment": clock(row.next_attempt_at, now), "wait": wait}
    else:
        yield _("Due since %(moment)s: the next free worker sends it.") % {"moment": clock(row.next_attempt_at, now)}
    if row.retry_count:
        yield _("Retries used: %(used)d of %(most)d.") % {"used": row.retry_count, "most": row.max_retries}
    end = deadline_of(row)
    if end is not None:
        yield _("It expires at %(moment)s if it is not sent by then.") % {"moment": clock(end, now)}


def deadline_of(row: Any) -> datetime | None:
    """Return the deadline of a row, or None if it is later than any date."""
    with suppress(OverflowError):
        return deadline(max(row.scheduled_for or row.created_at, row.created_at), row_options(row), row.expires_at)
    return None


def _not_reported(row: Any, now: datetime) -> Iterator[str]:
    yield _("No browser has reported that it was shown.")
    sent = row.sent_at or row.created_at
    end = shifted(sent, timedelta(seconds=row_options(row).ttl_seconds))
    if row.expires_at is not None:
        end = min(end, row.expires_at)
    if end > now:
        yield _("Until %(moment)s, the push service keeps the message for a browser that is offline.") % {
            "moment": clock(end, now)
        }
    else:
        yield _("The push service kept it until %(moment)s for a browser that was offline.") % {
            "moment": clock(end, now)
        }
