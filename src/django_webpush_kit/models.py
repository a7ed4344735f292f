"""The concrete models. Your project may swap four of them; the others are fixed."""

from __future__ import annotations

import uuid
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, cast

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.base_models import (
    AbstractNotificationAnalytics,
    AbstractNotificationTemplate,
    AbstractPushNotification,
    AbstractPushSubscription,
)
from django_webpush_kit.conf import swapped_model
from django_webpush_kit.readable_rows import ReadableQuerySet
from django_webpush_kit.states import Lane

if TYPE_CHECKING:
    from typing_extensions import Self


class PushSubscription(AbstractPushSubscription):
    """The default subscription model."""

    class Meta(AbstractPushSubscription.Meta):
        swappable = "WEBPUSH_KIT_SUBSCRIPTION_MODEL"


class NotificationTemplate(AbstractNotificationTemplate):
    """The default template model."""

    class Meta(AbstractNotificationTemplate.Meta):
        swappable = "WEBPUSH_KIT_TEMPLATE_MODEL"


class PushNotification(AbstractPushNotification):
    """The default outbox model."""

    class Meta(AbstractPushNotification.Meta):
        swappable = "WEBPUSH_KIT_NOTIFICATION_MODEL"


class NotificationAnalytics(AbstractNotificationAnalytics):
    """The default model of reported events."""

    class Meta(AbstractNotificationAnalytics.Meta):
        swappable = "WEBPUSH_KIT_ANALYTICS_MODEL"


class PushBroadcast(models.Model):
    """One message to a stored audience, fanned out in the background by a resumable cursor.

    `cursor` is the primary key of the last processed subscription. All rows share `batch`. `texts` is a snapshot of the
    template in each language, taken at the start. `total` is the size of the audience: an estimate at the start, exact
    at the end. `processed` counts the recipients read so far, and `failed` those whose row could not be written.
    Broadcasts with a lower `lane` are fanned out first. No rows are written before `next_page_at`, which is set by
    `rate` ("5000/m") and after an error.
    """

    class Status(models.TextChoices):
        """The state of a broadcast."""

        PENDING = "pending", _("pending")
        RUNNING = "running", _("running")
        PAUSED = "paused", _("paused")
        COMPLETED = "completed", _("completed")
        CANCELLED = "cancelled", _("cancelled")
        FAILED = "failed", _("failed")

    batch = models.UUIDField(_("batch"), default=uuid.uuid4, unique=True, editable=False)
    type = models.CharField(_("type"), max_length=50)
    audience = models.CharField(_("audience"), max_length=100, default="all")
    context = models.JSONField(_("context"), default=dict, blank=True)
    options = models.JSONField(_("options"), default=dict, blank=True)
    texts = models.JSONField(default=dict, blank=True, editable=False)
    status = models.CharField(_("status"), max_length=20, choices=Status.choices, default=Status.PENDING)
    scheduled_for = models.DateTimeField(_("scheduled for"), null=True, blank=True)
    lane = models.PositiveSmallIntegerField(choices=Lane.choices, default=Lane.NORMAL, editable=False)
    rate = models.CharField(_("rate"), max_length=20, blank=True)
    next_page_at = models.DateTimeField(null=True, blank=True, editable=False)
    cursor = models.TextField(blank=True, editable=False)
    total = models.PositiveBigIntegerField(_("recipients"), default=0, editable=False)
    processed = models.PositiveBigIntegerField(_("processed"), default=0, editable=False)
    queued = models.PositiveBigIntegerField(_("queued"), default=0, editable=False)
    suppressed = models.PositiveBigIntegerField(_("suppressed"), default=0, editable=False)
    failed = models.PositiveBigIntegerField(_("failed"), default=0, editable=False)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    failure_reason = models.CharField(_("reason"), max_length=200, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True, editable=False)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True, editable=False)

    objects: ClassVar[models.Manager[Self]] = ReadableQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("broadcast")
        verbose_name_plural = _("broadcasts")
        indexes = [models.Index(fields=["status", "scheduled_for"])]

    def __str__(self) -> str:
        return f"{self.type} → {self.audience} ({self.status})"


class IdempotencyKey(models.Model):
    """The batch written by a call with this idempotency key. Inserted first, so a concurrent second call conflicts.

    Only the key's SHA-256 is stored, because keys may contain e-mail addresses. A hash also avoids collations that
    ignore case or trailing spaces.
    """

    key_hash = models.CharField(_("SHA-256 of the key"), max_length=64, editable=False)
    batch = models.UUIDField(_("batch"))
    queued = models.PositiveBigIntegerField(default=0)
    deferred = models.PositiveBigIntegerField(default=0)
    suppressed = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    recipients = models.PositiveBigIntegerField(default=0)
    unreachable = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")
        constraints = [models.UniqueConstraint(fields=["key_hash"], name="webpush_kit_idempotencykey_once")]

    def __str__(self) -> str:
        return self.key_hash[:12]

    @staticmethod
    def hash_of(key: str) -> str:
        """Return the SHA-256 of a key in hexadecimal."""
        return sha256(key.encode()).hexdigest()


class PushServiceState(models.Model):
    """State of a push service, shared by all workers: a circuit breaker for each VAPID key, and the send rate.

    The breaker is open while `paused_until` is set; the next probe is sent at that time. `reason` starts with the kind
    of fault: "credentials", "throttled" or "outage". `failures` counts consecutive pauses. `suspects` maps the primary
    keys of subscriptions whose last message failed to `[kind, time]`. Faults after `accepted_at` open the breaker.

    The row with an empty `vapid_key_id` also holds the rate of the whole service, in messages per minute. Its permits
    have been given out up to the time `permits_until`. Rows that wait for a permit are spread up to `waiting_until`.
    `paused_by_hand_at` is set while an operator has paused the service. If `push_service` is empty too, the row pauses
    all sending.
    """

    push_service = models.CharField(_("push service"), max_length=255)
    vapid_key_id = models.CharField(_("VAPID key"), max_length=32, blank=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=100, blank=True)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    suspects = models.JSONField(default=dict, blank=True, editable=False)
    accepted_at = models.DateTimeField(null=True, blank=True, editable=False)
    rate = models.FloatField(_("messages per minute"), null=True, blank=True)
    rate_changed_at = models.DateTimeField(null=True, blank=True, editable=False)
    permits_until = models.DateTimeField(null=True, blank=True, editable=False)
    waiting_until = models.DateTimeField(null=True, blank=True, editable=False)
    paused_by_hand_at = models.DateTimeField(_("paused by hand since"), null=True, blank=True, editable=False)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects: ClassVar[models.Manager[Self]] = ReadableQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("push service state")
        verbose_name_plural = _("push service states")
        constraints = [
            models.UniqueConstraint(fields=["push_service", "vapid_key_id"], name="webpush_kit_pushservicestate_once"),
        ]

    def __str__(self) -> str:
        return f"{self.push_service} {self.vapid_key_id}".strip()


class ApiLocation(models.Model):
    """The path of the HTTP API in the latest request, for links written by workers. The only row has primary key 1."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    path = models.CharField(_("path"), max_length=200)
    changed_at = models.DateTimeField(_("changed at"))

    class Meta:
        verbose_name = _("API location")
        verbose_name_plural = _("API locations")

    def __str__(self) -> str:
        return self.path


class OutboxDay(models.Model):
    """The bookkeeping of one calendar day (in `TIME_ZONE`) of the outbox, for statistics and retention.

    `rolled_up_at` is the start of the last complete count of the day, which took `build_seconds`. The day is counted
    again if it changed since (`changed_at`), or had `unfinished` notifications. `progress` is an interrupted count.
    `deletions` grows with every transaction that deletes counted rows, so that a count beside it is discarded. Changes
    up to `checked_until` have been assigned to their days. `subscribers` is the number of active subscriptions at the
    last count on that day. The texts of the day's notifications have been deleted if `is_blanked` is true.
    """

    day = models.DateField(_("day"), primary_key=True)
    rolled_up_at = models.DateTimeField(_("rolled up at"), null=True, blank=True)
    changed_at = models.DateTimeField(_("changed at"), null=True, blank=True)
    build_seconds = models.FloatField(default=0, editable=False)
    unfinished = models.PositiveBigIntegerField(_("unfinished"), default=0)
    progress = models.JSONField(null=True, blank=True, editable=False)
    deletions = models.PositiveBigIntegerField(default=0, editable=False)
    checked_until = models.DateTimeField(null=True, blank=True, editable=False)
    subscribers = models.PositiveBigIntegerField(_("subscribers"), null=True, blank=True)
    is_blanked = models.BooleanField(_("texts deleted"), default=False)

    class Meta:
        verbose_name = _("day of the outbox")
        verbose_name_plural = _("days of the outbox")

    def __str__(self) -> str:
        return str(self.day)


class DailyStatistics(models.Model):
    """Counters of the notifications created on one day, for one value of one dimension: ("type", "news").

    `show_times` is a histogram of the time from acceptance to display. `kept` is the part of all counters that is not
    counted again, because its rows have been deleted. Values are unique for a day and dimension. No constraint says so:
    some collations take different values for equal.
    """

    day = models.DateField(_("day"))
    dimension = models.CharField(_("dimension"), max_length=20)
    value = models.CharField(_("value"), max_length=200, blank=True)
    queued = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    expired = models.PositiveBigIntegerField(default=0)
    suppressed = models.PositiveBigIntegerField(default=0)
    cancelled = models.PositiveBigIntegerField(default=0)
    shown = models.PositiveBigIntegerField(default=0)
    clicked = models.PositiveBigIntegerField(default=0)
    body_clicked = models.PositiveBigIntegerField(default=0)
    button_clicked = models.PositiveBigIntegerField(default=0)
    dismissed = models.PositiveBigIntegerField(default=0)
    gone = models.PositiveBigIntegerField(default=0)
    unsubscribed = models.PositiveBigIntegerField(default=0)
    opted_out = models.PositiveBigIntegerField(default=0)
    subscribers_gained = models.PositiveBigIntegerField(default=0)
    subscribers_lost = models.PositiveBigIntegerField(default=0)
    show_times = models.JSONField(default=dict, blank=True)
    kept = models.JSONField(default=dict, blank=True, editable=False)

    class Meta:
        verbose_name = _("daily statistics")
        verbose_name_plural = _("daily statistics")
        indexes = [models.Index(fields=["dimension", "day"]), models.Index(fields=["day"])]

    def __str__(self) -> str:
        return f"{self.day} {self.dimension} {self.value}".strip()


class WorkerHeartbeat(models.Model):
    """A worker process, as it last wrote about itself; `delivery.heartbeats` writes the row every 10 seconds at most.

    All moments are by the clock of the database. The calls of a command share a row, whose `started_at` is the start of
    the first call. `swept_at` is when the process last looked for all due rows, as a loop or because a scheduler told
    it to. A process that was killed has no `ended_at`. `rows` counts what it handled since its start, `per_minute` is
    its last rate, and `clock_difference` is how many seconds its clock is ahead.
    """

    name = models.CharField(_("worker"), max_length=200, unique=True)
    version = models.CharField(_("version"), max_length=50, blank=True)
    command = models.CharField(_("command"), max_length=100, blank=True)
    is_loop = models.BooleanField(_("runs all the time"), default=False)
    started_at = models.DateTimeField(_("started at"))
    seen_at = models.DateTimeField(_("last seen at"))
    swept_at = models.DateTimeField(_("last sweep at"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    ending = models.CharField(_("how it ended"), max_length=100, blank=True)
    rows = models.PositiveBigIntegerField(_("notifications"), default=0)
    per_minute = models.FloatField(_("notifications per minute"), null=True, blank=True)
    clock_difference = models.FloatField(_("clock ahead by seconds"), null=True, blank=True)

    objects: ClassVar[models.Manager[Self]] = ReadableQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name


def get_subscription_model() -> type[AbstractPushSubscription]:
    """Return the subscription model in use."""
    return cast("type[AbstractPushSubscription]", swapped_model("WEBPUSH_KIT_SUBSCRIPTION_MODEL"))


def get_template_model() -> type[AbstractNotificationTemplate]:
    """Return the template model in use."""
    return cast("type[AbstractNotificationTemplate]", swapped_model("WEBPUSH_KIT_TEMPLATE_MODEL"))


def get_notification_model() -> type[AbstractPushNotification]:
    """Return the outbox model in use."""
    return cast("type[AbstractPushNotification]", swapped_model("WEBPUSH_KIT_NOTIFICATION_MODEL"))


def get_analytics_model() -> type[AbstractNotificationAnalytics]:
    """Return the model of reported events in use."""
    return cast("type[AbstractNotificationAnalytics]", swapped_model("WEBPUSH_KIT_ANALYTICS_MODEL"))
