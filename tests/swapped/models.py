"""Each of the four models with a field more; two of them with another kind of primary key."""

import uuid

from django.db import models

from django_webpush_kit.base_models import (
    AbstractNotificationAnalytics,
    AbstractNotificationTemplate,
    AbstractPushNotification,
    AbstractPushSubscription,
)


class Browser(AbstractPushSubscription):
    nickname = models.CharField(max_length=100, blank=True)


class Wording(AbstractNotificationTemplate):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    approved_by = models.CharField(max_length=100, blank=True)


class Letter(AbstractPushNotification):
    campaign = models.CharField(max_length=100, blank=True)

    class Meta(AbstractPushNotification.Meta):
        indexes = [*AbstractPushNotification.Meta.indexes, models.Index(fields=["campaign"])]


class Reaction(AbstractNotificationAnalytics):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    screen = models.CharField(max_length=100, blank=True)
