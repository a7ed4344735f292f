"""The page of one broadcast: its state in words, its figures, and the actions that are possible now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format, time_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_webpush_kit.admin.contained import local, with_edge_moments
from django_webpush_kit.admin.message_preview import MessagePreview, preview_messages
from django_webpush_kit.admin.numbers import formatted
from django_webpush_kit.analytics import percentage
from django_webpush_kit.database import rows_of
from django_webpush_kit.models import PushBroadcast, get_notification_model
from django_webpush_kit.outbox.broadcast_figures import BroadcastFigures, broadcast_figures, latest_figures
from django_webpush_kit.outbox.broadcasts import BroadcastProgress
from django_webpush_kit.outbox.retries import retriable
from django_webpush_kit.outbox.snapshots import thaw, thaw_templates
from django_webpush_kit.states import NotificationStatus

Status = PushBroadcast.Status

RECENT = timedelta(seconds=10)
"""Older figures are shown with their time, and counted again."""

COUNT = "count"
"""The parameter of the page's URL for which it waits until the figures are counted."""

UNSTARTED_OR_RUNNING = (Status.PENDING, Status.RUNNING)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its label, its share in percent of another figure, and what it means."""

    label: str | Promise
    count: int
    share: float | None = None
    help: str | Promise = ""


@dataclass(frozen=True, slots=True)
class Control:
    """A button: `name` is what the form posts."""

    name: str
    label: str | Promise


@dataclass(frozen=True, slots=True)
class BroadcastPage:
    """The content of the page.

    `percent` is None while it is unknown. `is_live` is true while the figures can change, and `is_stale` if they are
    still to be counted for this page.
    """

    summary: Sequence[str]
    figures: Sequence[Figure]
    reasons: Sequence[tuple[str, str, int]]
    controls: Sequence[Control]
    percent: int | None
    is_live: bool
    is_stale: bool


def broadcast_page(broadcast: PushBroadcast, *, counts: bool = True) -> BroadcastPage:
    """Return the current page of a broadcast. Reads its fields again.

    Unless it `counts`, the figures of a large broadcast are the latest that were counted.
    """
    figures = broadcast_figures(broadcast) if counts else latest_figures(broadcast)
    with_edge_moments(broadcast)  # it was read again
    is_live = broadcast.status in UNSTARTED_OR_RUNNING or figures.progress.waiting > 0
    return BroadcastPage(
        summary=list(_summary(broadcast, figures)),
        figures=_figures(broadcast, figures),
        reasons=[
            (str(NotificationStatus(reason.status).label), reason.text or "-", reason.count)
            for reason in figures.reasons
        ],
        controls=_controls(broadcast, figures),
        percent=_percent(figures),
        is_live=is_live,
        is_stale=_is_old(figures) and not counts,
    )


def messages_of(broadcast: PushBroadcast) -> list[MessagePreview]:
    """Return the texts that are sent, once the broadcast has started. They do not change, so they are not refreshed."""
    try:
        templates = thaw_templates(broadcast.texts.get("templates", ()))
        return preview_messages(templates, thaw(broadcast.context), thaw(broadcast.options))
    except (TypeError, KeyError, AttributeError):  # stored JSON may have any shape
        return []


def retriable_rows(broadcast: PushBroadcast) -> QuerySet[Any]:
    """Return the failed notifications of a broadcast that can be sent again."""
    return retriable(rows_of(get_notification_model()).filter(batch=broadcast.batch))


def duration(seconds: float) -> str:
    """Return a rough duration in words, such as "3 minutes"."""
    if seconds < 90:
        number = max(round(seconds), 1)
        return ngettext("%(number)s second", "%(number)s seconds", number) % {"number": number}
    if seconds < 90 * 60:
        number = round(seconds / 60)
        return ngettext("%(number)s minute", "%(number)s minutes", number) % {"number": number}
    if seconds < 36 * 3600:
        number = round(seconds / 3600)
        return ngettext("%(number)s hour", "%(number)s hours", number) % {"number": number}
    number = round(seconds / 86_400)
    return ngettext("%(number)s day", "%(number)s days", number) % {"number": formatted(number)}


def _percent(figures: BroadcastFigures) -> int | None:
    if figures.counted_at is None:
        return None
    return min(100 * figures.progress.done // figures.progress.total, 100) if figures.progress.total else 0


def _summary(broadcast: PushBroadcast, figures: BroadcastFigures) -> Iterator[str]:
    """Yield the state of a broadcast and what happens next, in sentences."""
    yield _state(broadcast, figures)
    if figures.counted_at is None:
        yield _("The results are being counted.")
    else:
        yield from _outlook(broadcast, figures.progress)
    if broadcast.failure_reason and broadcast.status != Status.FAILED:
        yield _("Last error: %(reason)s") % {"reason": broadcast.failure_reason}
    if figures.counted_at is not None and _is_old(figures):
        yield _("Counted at %(time)s.") % {"time": time_format(local(figures.counted_at), "TIME_FORMAT")}


def _state(broadcast: PushBroadcast, figures: BroadcastFigures) -> str:
    status = broadcast.status
    if status == Status.PENDING:
        if broadcast.scheduled_for and broadcast.scheduled_for > timezone.now():
            return _("It starts at %(moment)s.") % {"moment": _moment(broadcast.scheduled_for)}
        return _("It waits for a worker to start it.")
    if status == Status.RUNNING:
        return _("Notifications are being written: %(done)s of %(total)s recipients so far.") % {
            "done": formatted(broadcast.processed),
            "total": formatted(max(broadcast.total, broadcast.processed)),
        }
    if status == Status.PAUSED:
        return _("It is paused. Notifications that are already written are still sent.")
    if status == Status.CANCELLED:
        return _("It was cancelled.")
    if status == Status.FAILED:
        return _("It failed: %(reason)s") % {"reason": broadcast.failure_reason or _("no reason was recorded.")}
    return _("All notifications are written.") if figures.progress.waiting else _("It is finished.")


def _outlook(broadcast: PushBroadcast, progress: BroadcastProgress) -> Iterator[str]:
    if progress.waiting:
        yield ngettext(
            "%(count)s notification is pending.", "%(count)s notifications are pending.", progress.waiting
        ) % {"count": formatted(progress.waiting)}
    # the progress may have been counted before the broadcast was paused
    is_moving = broadcast.status in (Status.RUNNING, Status.COMPLETED)
    if is_moving and progress.rate is not None and progress.remaining is not None:
        yield _("%(rate)s per second, about %(duration)s left.") % {
            "rate": formatted(round(progress.rate, 0 if progress.rate >= 10 else 1)),
            "duration": duration(progress.remaining),
        }
    if progress.latest_due and progress.latest_due > timezone.now() + timedelta(minutes=1):
        yield _("The last one is due at %(moment)s.") % {"moment": _moment(progress.latest_due)}


def _is_old(figures: BroadcastFigures) -> bool:
    return figures.counted_at is None or timezone.now() - figures.counted_at > RECENT


def _figures(broadcast: PushBroadcast, figures: BroadcastFigures) -> list[Figure]:
    """Return the main figures, then other figures that are not 0."""
    progress = figures.progress
    main = [Figure(_("recipients"), progress.total, None, _("Browsers in the audience."))]
    others = [
        Figure(_("opted out"), broadcast.suppressed, None, _("Left out, because they do not want this type.")),
        Figure(_("skipped"), broadcast.failed, None, _("Their text could not be rendered or stored.")),
    ]
    if figures.counted_at is not None:
        main += _results(figures)
        others = [Figure(_("pending"), progress.waiting), *others, *_losses(figures)]
    return main + [figure for figure in others if figure.count]


def _results(figures: BroadcastFigures) -> list[Figure]:
    accepted, ended = figures.progress.accepted, figures.progress.ended - figures.progress.pruned
    return [
        Figure(
            _("accepted"),
            accepted,
            percentage(accepted, ended),
            _("Taken by a push service, in percent of the notifications that ended."),
        ),
        Figure(_("shown"), figures.shown, percentage(figures.shown, accepted), _("Browsers that reported it.")),
        Figure(_("clicked"), figures.clicked, percentage(figures.clicked, accepted), _("On a button or elsewhere.")),
    ]


def _losses(figures: BroadcastFigures) -> list[Figure]:
    progress, counts, lost = figures.progress, figures.progress.by_status, figures.unsubscribed
    unsent = (NotificationStatus.FAILED, NotificationStatus.EXPIRED, NotificationStatus.CANCELLED)
    return [
        *(
            Figure(status.label, counts.get(status, 0), percentage(counts.get(status, 0), progress.written))
            for status in unsent
        ),
        Figure(_("suppressed later"), counts.get(NotificationStatus.SUPPRESSED, 0)),
        Figure(
            _("unsubscribed"),
            lost,
            percentage(lost, progress.accepted),
            _("Within a day after they got this notification."),
        ),
        Figure(_("deleted"), progress.pruned, None, _("Old notifications are not kept.")),
    ]


def _controls(broadcast: PushBroadcast, figures: BroadcastFigures) -> list[Control]:
    status = broadcast.status
    controls = []
    if status in UNSTARTED_OR_RUNNING:
        controls.append(Control("pause", gettext_lazy("Pause")))
    if status in (Status.PAUSED, Status.FAILED):
        controls.append(Control("resume", gettext_lazy("Resume")))
    if figures.progress.by_status.get(NotificationStatus.FAILED):
        controls.append(Control("retry", gettext_lazy("Send failed notifications again")))
    if status in (*UNSTARTED_OR_RUNNING, Status.PAUSED) or figures.progress.waiting:
        controls.append(Control("cancel", gettext_lazy("Cancel permanently")))
    return controls


def _moment(moment: Any) -> str:
    return date_format(local(moment), "DATETIME_FORMAT")
