from django.db import models

from django_webpush_kit.base_models import AbstractPushNotification, AbstractPushSubscription


class Browser(AbstractPushSubscription):
    nickname = models.CharField(max_length=100, blank=True)


class Letter(AbstractPushNotification):
    campaign = models.CharField(max_length=100, blank=True)
