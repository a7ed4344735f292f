"""Abstract models. If you swap a model, derive yours from one of these. Importing this module creates no tables.

The states of an outbox row are in `states.NotificationStatus`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.conf import require_installed_app
from django_webpush_kit.protocol.endpoints import endpoint_hash, push_service
from django_webpush_kit.querysets import (
    NotificationTemplateManager,
    PushNotificationManager,
    PushSubscriptionManager,
)
from django_webpush_kit.readable_rows import ReadableQuerySet
from django_webpush_kit.states import ActionType, Lane, NotificationStatus
from django_webpush_kit.templating.validation import validate_template

if TYPE_CHECKING:
    from typing_extensions import Self

require_installed_app()


class EndpointDerivedField(models.CharField):  # type: ignore[type-arg]  # the stubs treat it as a CharField
    """A text column derived from `endpoint` whenever a row is written, also by `bulk_create`.

    In migrations it is a CharField.
    """

    def __init__(self, *args: Any, derive: Callable[[str], str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.derive = derive

    def deconstruct(self) -> Any:
        """Return a CharField, so that migrations of your project do not depend on this class."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        """Derive the value again."""
        if self.derive is not None:
            setattr(model_instance, self.attname, self.derive(model_instance.endpoint))
        return super().pre_save(model_instance, add)


_FOLLOWING = {"endpoint": ("endpoint_hash", "push_service"), "is_active": ("deactivated_at",)}
"""Columns of a subscription to write together with the field that they depend on."""


class AbstractPushSubscription(models.Model):
    """The push subscription of one browser (RFC 8030) and its owner.

    `endpoint_hash` makes endpoints unique, because real endpoints are longer than MySQL can index. If a push service
    reports a subscription as gone, the row is kept as inactive with a reason until it is pruned.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="push_subscriptions",
        verbose_name=_("user"),
    )
    endpoint = models.URLField(_("endpoint"), max_length=2048)
    endpoint_hash = EndpointDerivedField(max_length=64, editable=False, derive=endpoint_hash)
    p256dh_key = models.CharField(max_length=255)
    auth_key = models.CharField(max_length=255)
    expiration_time = models.DateTimeField(_("expiration time"), null=True, blank=True)
    preferences = models.JSONField(_("preferences"), default=dict, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    deactivated_at = models.DateTimeField(_("deactivated at"), null=True, blank=True)
    deactivation_reason = models.CharField(_("deactivation reason"), max_length=100, blank=True)

    push_service = EndpointDerivedField(
        _("push service"), max_length=255, blank=True, editable=False, derive=push_service
    )
    vapid_key_id = models.CharField(max_length=32, blank=True, editable=False)
    language = models.CharField(_("language"), max_length=35, blank=True)
    timezone = models.CharField(_("time zone"), max_length=64, blank=True)
    token_version = models.PositiveIntegerField(default=0, editable=False)

    user_agent = models.TextField(_("user agent"), blank=True)
    ip_address = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects: ClassVar[PushSubscriptionManager[Self]] = PushSubscriptionManager()

    class Meta:
        abstract = True
        verbose_name = _("push subscription")
        verbose_name_plural = _("push subscriptions")
        indexes = [
            models.Index(fields=["is_active", "id"]),
            models.Index(fields=["created_at"]),
            models.Index(fields=["deactivated_at"]),
            models.Index(fields=["push_service", "vapid_key_id", "is_active"]),
        ]
        constraints = [
            # not `unique=True`, for which PostgreSQL gets a second index, for LIKE
            models.UniqueConstraint(fields=["endpoint_hash"], name="%(app_label)s_%(class)s_endpoint"),
            models.CheckConstraint(
                condition=Q(is_active=True) | Q(deactivated_at__isnull=False),
                name="%(app_label)s_%(class)s_dated",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.push_service or _('subscription')} #{self.pk}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Set `deactivated_at` as needed. With `update_fields`, also write the columns that depend on those fields."""
        if not self.is_active and self.deactivated_at is None:
            self.deactivated_at = timezone.now()
        if (fields := kwargs.get("update_fields")) is not None:
            kwargs["update_fields"] = {*fields, *(name for field in fields for name in _FOLLOWING.get(field, ()))}
            if kwargs["update_fields"]:
                kwargs["update_fields"].add("updated_at")
        super().save(*args, **kwargs)

    @property
    def subscription_info(self) -> dict[str, Any]:
        """Return the subscription in the JSON form of browsers, which pywebpush accepts."""
        return {"endpoint": self.endpoint, "keys": {"p256dh": self.p256dh_key, "auth": self.auth_key}}


class AbstractNotificationTemplate(models.Model):
    """Text and behaviour of one notification type in one language ("" is the default language).

    Title, body, URL, icon and the URLs in `actions` are templates. `options` accepts other keyword options of
    `send()`, such as `{"ttl": 3600, "urgency": "high"}`.
    """

    type = models.CharField(_("type"), max_length=50)
    language = models.CharField(_("language"), max_length=35, blank=True, default="")
    title_template = models.CharField(_("title"), max_length=200)
    body_template = models.TextField(_("body"), blank=True)
    url_template = models.CharField(_("URL"), max_length=500, blank=True)
    icon_template = models.CharField(_("icon"), max_length=500, blank=True)

    require_interaction = models.BooleanField(_("require interaction"), default=False)
    silent = models.BooleanField(_("silent"), default=False)
    vibrate_pattern = models.JSONField(_("vibration pattern"), default=list, blank=True)
    actions = models.JSONField(_("actions"), default=list, blank=True)
    options = models.JSONField(_("further options"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects: ClassVar[NotificationTemplateManager[Self]] = NotificationTemplateManager()

    class Meta:
        abstract = True
        verbose_name = _("notification template")
        verbose_name_plural = _("notification templates")
        constraints = [
            models.UniqueConstraint(fields=["type", "language"], name="%(app_label)s_%(class)s_once"),
        ]

    def __str__(self) -> str:
        return f"{self.type} ({self.language})" if self.language else self.type

    def natural_key(self) -> tuple[str, str]:
        """Return the key used in fixtures. Loading a fixture again updates the row."""
        return self.type, self.language

    def clean(self) -> None:
        """Refuse templates that cannot be rendered. The error names the field."""
        validate_template(self)


class AbstractPushNotification(models.Model):
    """One message for one subscription: a row of the outbox.

    `next_attempt_at` is the due time of a pending row, and the end of the lease while the row is being sent. All rows
    of one call share `batch`. `user` is the recipient at the time of the call.
    """

    subscription = models.ForeignKey(
        settings.WEBPUSH_KIT_SUBSCRIPTION_MODEL,
        on_delete=models.CASCADE,
        related_name="notifications",
        verbose_name=_("subscription"),
    )
    template = models.ForeignKey(
        settings.WEBPUSH_KIT_TEMPLATE_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="notifications",
        verbose_name=_("template"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="push_notifications",
        verbose_name=_("user"),
    )
    batch = models.UUIDField(_("batch"), default=uuid.uuid4)
    type = models.CharField(_("type"), max_length=50, blank=True)
    language = models.CharField(_("language"), max_length=35, blank=True)
    title = models.CharField(_("title"), max_length=200)
    body = models.TextField(_("body"), blank=True)
    data = models.JSONField(_("data"), default=dict, blank=True)
    options = models.JSONField(_("options"), default=dict, blank=True)
    topic = models.CharField(_("topic"), max_length=32, blank=True)

    status = models.CharField(
        _("status"), max_length=20, choices=NotificationStatus.choices, default=NotificationStatus.PENDING
    )
    lane = models.PositiveSmallIntegerField(_("lane"), choices=Lane.choices, default=Lane.NORMAL)
    scheduled_for = models.DateTimeField(_("scheduled for"), null=True, blank=True)
    next_attempt_at = models.DateTimeField(_("next attempt at"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    retry_count = models.PositiveIntegerField(_("retries"), default=0)
    max_retries = models.PositiveIntegerField(_("maximum retries"), default=3)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    claims = models.PositiveIntegerField(_("claims without an answer"), default=0, editable=False)

    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    response_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True, blank=True)
    failure_reason = models.CharField(_("reason"), max_length=200, blank=True)
    attempt_log = models.TextField(_("log"), blank=True, default="", editable=False)

    objects: ClassVar[PushNotificationManager[Self]] = PushNotificationManager()

    class Meta:
        abstract = True
        verbose_name = _("push notification")
        verbose_name_plural = _("push notifications")
        indexes = [
            models.Index(fields=["status", "lane", "next_attempt_at", "id"]),
            models.Index(fields=["created_at"]),
            # in the order of the list, which shows the newest rows of a large broadcast
            models.Index(fields=["batch", "created_at"]),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=NotificationStatus.values), name="%(app_label)s_%(class)s_status"
            ),
            # workers and health ask for one lane after another; Django cannot introspect `IN (0, 1)` on SQLite
            models.CheckConstraint(
                condition=Q(lane__lte=Lane.LOW) | Q(lane=Lane.ISOLATED), name="%(app_label)s_%(class)s_lane"
            ),
            models.CheckConstraint(
                condition=~Q(status="sending") | Q(lease_token__isnull=False),
                name="%(app_label)s_%(class)s_leased",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.status})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Set the recipient of a new row to the owner of the subscription if it is missing."""
        if self._state.adding and self.user_id is None:
            self.user_id = self.subscription.user_id
        super().save(*args, **kwargs)


class AbstractNotificationAnalytics(models.Model):
    """One event that a browser reported about a notification. Repeated reports are stored once."""

    notification = models.ForeignKey(
        settings.WEBPUSH_KIT_NOTIFICATION_MODEL,
        on_delete=models.CASCADE,
        related_name="analytics",
        db_index=False,  # the unique constraint begins with it
        verbose_name=_("notification"),
    )
    action_type = models.CharField(_("event"), max_length=20, choices=ActionType.choices)
    action_id = models.CharField(_("button"), max_length=64, blank=True, default="")
    action_data = models.JSONField(_("data"), default=dict, blank=True)
    timestamp = models.DateTimeField(_("time"), auto_now_add=True)

    objects: ClassVar[models.Manager[Self]] = ReadableQuerySet.as_manager()

    class Meta:
        abstract = True
        verbose_name = _("notification event")
        verbose_name_plural = _("notification events")
        indexes = [models.Index(fields=["timestamp"])]
        constraints = [
            models.UniqueConstraint(
                fields=["notification", "action_type", "action_id"], name="%(app_label)s_%(class)s_once"
            ),
            models.CheckConstraint(
                condition=Q(action_type__in=ActionType.values), name="%(app_label)s_%(class)s_event"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action_type} #{self.notification_id}"
