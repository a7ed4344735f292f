"""Writing the outbox: one row per subscription, in pages.

A `Draft` knows the text and the options of one call for any recipient; `write_page` asks it for each subscription,
asks the subscriber's preferences, and inserts the rows in bulk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.functional import Promise

from django_webpush_kit.base_models import Lane, NotificationStatus
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.delivery.collector import collector
from django_webpush_kit.delivery.options import SendOptions, default_options, storable, template_options
from django_webpush_kit.delivery.payloads import PayloadEncoder
from django_webpush_kit.delivery.preferences import Decision, decide, recipient_zone, wall_clock_instant
from django_webpush_kit.delivery.retry import deadline
from django_webpush_kit.delivery.topics import SUPERSEDED
from django_webpush_kit.exceptions import InvalidOption, TemplateRenderError
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.rendering import MAX_TITLE, RenderedText, TemplateRenderer

INSERT_SIZE = 500

LARGE_PAGE = 100
"""Rows from which on it pays to keep the garbage collector out."""

MAX_TYPE = 50

LANES = {"high": Lane.HIGH, "normal": Lane.NORMAL, "low": Lane.LOW, "very-low": Lane.LOW}


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of recipients: due now, due later, not wanted."""

    queued: int = 0
    deferred: int = 0
    suppressed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.queued + other.queued, self.deferred + other.deferred, self.suppressed + other.suppressed)


@dataclass(frozen=True, slots=True)
class Content:
    """One message as it will stand in the outbox."""

    title: str
    body: str
    language: str
    template_id: Any
    options: SendOptions
    row_options: dict[str, Any]
    max_retries: int


class Draft(ABC):
    """The message of one call, for any recipient."""

    needs_user = False
    """Whether the content depends on the subscription's user."""

    def __init__(self, type: str, options: SendOptions) -> None:  # noqa: A002  # the field's own name
        self.type = _checked_text("type", type)
        if len(self.type) > MAX_TYPE:
            raise InvalidOption(f"type has {len(self.type)} characters; at most {MAX_TYPE} are allowed")
        self.options = options
        self._defaults = default_options()
        self._encoder = PayloadEncoder()

    @abstractmethod
    def content_for(self, subscription: Any) -> Content:
        """The content for one subscription."""

    def _finish(self, text: RenderedText, options: SendOptions, language: str, template_id: Any = None) -> Content:
        title, body = storable(text.title), storable(text.body)
        if not title:
            raise InvalidOption("title must not be empty: browsers show nothing without one")
        if len(title) > MAX_TITLE:
            if kit_settings.OVERSIZE == "error":
                raise InvalidOption(f"title has {len(title)} characters; at most {MAX_TITLE} are allowed")
            title = f"{title[: MAX_TITLE - 1]}…"
        row_options = options.row_options()
        self._encoder.check_size(
            title=title, body=body, data=options.data or {}, language=language, options=row_options
        )
        max_retries = kit_settings.MAX_RETRIES if options.max_retries is None else options.max_retries
        return Content(title, body, language, template_id, options, row_options, max_retries)


class PlainDraft(Draft):
    """A title and a body, the same for all recipients."""

    def __init__(self, title: str, body: str, type: str, options: SendOptions) -> None:  # noqa: A002
        super().__init__(type, options)
        text = RenderedText(_checked_text("title", title), _checked_text("body", body))
        merged = options.over(self._defaults)
        self._content = self._finish(text, merged, merged.language or "")

    def content_for(self, subscription: Any) -> Content:
        """The content for one subscription."""
        return self._content


class TemplateDraft(Draft):
    """The text of a template; it depends on the language, and maybe on the time zone and the recipient."""

    def __init__(
        self,
        type: str,  # noqa: A002  # the field's own name
        context: Mapping[str, Any] | None,
        options: SendOptions,
        *,
        templates: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(type, options)
        self._renderer = TemplateRenderer(self.type, context, templates=templates)
        self._contents: dict[tuple[str, str], Content] = {}
        self.needs_user = self._renderer.names_recipient

    def content_for(self, subscription: Any) -> Content:
        """The content for one subscription, rendered once per language where the template names no recipient."""
        language = self.options.language or subscription.language
        template = self._renderer.template_for(language)
        is_personal = self._renderer.is_personal(language)
        time_zone = recipient_zone(subscription.timezone).key if is_personal or self._renderer.is_zoned else ""
        if is_personal:
            return self._render(language, template, time_zone, subscription.user)
        key = (template.language, time_zone)
        if key not in self._contents:
            self._contents[key] = self._render(language, template, time_zone, None)
        return self._contents[key]

    def _render(self, language: str, template: Any, time_zone: str, user: Any) -> Content:
        """Render and check one text; the row's language is that of the template, "" where it is the default one."""
        text = self._renderer.render(language, recipient=user, time_zone=time_zone)
        try:
            rendered = SendOptions.parse(
                {"url": text.url or None, "icon": text.icon or None, "actions": text.actions or None}
            )
            options = self.options.over(rendered).over(template_options(template)).over(self._defaults)
            return self._finish(text, options, template.language, template.pk)
        except InvalidOption as error:
            raise TemplateRenderError(f"Template {template}: {error}") from error


def write_page(
    subscriptions: Sequence[Any], draft: Draft, *, batch: UUID, now: datetime, keep_suppressed: bool = True
) -> Counts:
    """Insert one row per subscription, in the caller's transaction, and return what became of them.

    A suppressed recipient gets a row with the reason, unless `keep_suppressed` is false: then it is only counted.
    """
    if len(subscriptions) < LARGE_PAGE:
        return _write_page(subscriptions, draft, batch, now, keep_suppressed)
    with collector.while_any():
        return _write_page(subscriptions, draft, batch, now, keep_suppressed)


def _write_page(
    subscriptions: Sequence[Any], draft: Draft, batch: UUID, now: datetime, keep_suppressed: bool
) -> Counts:
    notification = get_notification_model()
    rows = [_row(notification, subscription, draft, batch, now) for subscription in subscriptions]
    suppressed = [row for row in rows if row.status == NotificationStatus.SUPPRESSED]
    kept = rows if keep_suppressed else [row for row in rows if row.status == NotificationStatus.PENDING]
    _supersede(notification, [row for row in rows if row.topic and row.status == NotificationStatus.PENDING])
    notification.objects.bulk_create(kept, batch_size=INSERT_SIZE)
    queued = sum(row.status == NotificationStatus.PENDING and row.next_attempt_at <= now for row in rows)
    return Counts(queued, len(rows) - queued - len(suppressed), len(suppressed))


def _row(notification: Any, subscription: Any, draft: Draft, batch: UUID, now: datetime) -> Any:
    content = draft.content_for(subscription)
    options = content.options
    scheduled = options.scheduled_for
    if options.scheduled_local is not None:
        scheduled = wall_clock_instant(options.scheduled_local, recipient_zone(subscription.timezone))
    due = max(scheduled, now) if scheduled else now
    decision = Decision()
    if not options.critical:
        decision = decide(
            subscription.preferences,
            subscription.timezone,
            type=draft.type,
            due=due,
            deadline=deadline(due, content.row_options, options.expires_at),
        )
    return notification(
        subscription_id=subscription.pk,
        template_id=content.template_id,
        user_id=subscription.user_id,
        batch=batch,
        type=draft.type,
        language=content.language,
        title=content.title,
        body=content.body,
        data=options.data or {},
        options=content.row_options,
        topic=options.topic or "",
        status=NotificationStatus.SUPPRESSED if decision.suppressed else NotificationStatus.PENDING,
        failure_reason=decision.suppressed,
        lane=LANES[options.urgency or "normal"],
        scheduled_for=scheduled,
        next_attempt_at=decision.until or due,
        expires_at=options.expires_at,
        max_retries=content.max_retries,
        created_at=now,
    )


def _supersede(notification: Any, rows: Sequence[Any]) -> None:
    """Cancel what still waits for the same subscriptions under the topics that are being written."""
    by_topic: dict[str, list[Any]] = {}
    for row in rows:
        by_topic.setdefault(row.topic, []).append(row.subscription_id)
    for topic, subscriptions in by_topic.items():
        notification.objects.filter(topic=topic, subscription__in=subscriptions).cancel(SUPERSEDED)


def _checked_text(name: str, value: Any) -> str:
    if not isinstance(value, str | Promise):
        raise InvalidOption(f"{name} must be str, not {value.__class__.__name__}")
    return storable(str(value))
