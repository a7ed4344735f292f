"""The admin classes of our models. If you swap a model, derive your admin from its class.

@admin.register(Letter)
class LetterAdmin(PushNotificationAdmin):
list_filter = (*PushNotificationAdmin.list_filter, "campaign")
"""

from django.contrib import admin

from django_webpush_kit.admin.broadcasts import PushBroadcastAdmin
from django_webpush_kit.admin.dashboard import WorkerHeartbeatAdmin, show_panel
from django_webpush_kit.admin.operations import IdempotencyKeyAdmin, PushServiceStateAdmin
from django_webpush_kit.admin.outbox import NotificationAnalyticsAdmin, PushNotificationAdmin
from django_webpush_kit.admin.subscriptions import PushSubscriptionAdmin
from django_webpush_kit.admin.templates import NotificationTemplateAdmin
from django_webpush_kit.models import (
    IdempotencyKey,
    NotificationAnalytics,
    NotificationTemplate,
    PushBroadcast,
    PushNotification,
    PushServiceState,
    PushSubscription,
    WorkerHeartbeat,
)

__all__ = [
    "IdempotencyKeyAdmin",
    "NotificationAnalyticsAdmin",
    "NotificationTemplateAdmin",
    "PushBroadcastAdmin",
    "PushNotificationAdmin",
    "PushServiceStateAdmin",
    "PushSubscriptionAdmin",
    "WorkerHeartbeatAdmin",
]

# Django skips models that are swapped out.
admin.site.register(PushSubscription, PushSubscriptionAdmin)
admin.site.register(NotificationTemplate, NotificationTemplateAdmin)
admin.site.register(PushNotification, PushNotificationAdmin)
admin.site.register(NotificationAnalytics, NotificationAnalyticsAdmin)
admin.site.register(PushBroadcast, PushBroadcastAdmin)
admin.site.register(IdempotencyKey, IdempotencyKeyAdmin)
admin.site.register(PushServiceState, PushServiceStateAdmin)
admin.site.register(WorkerHeartbeat, WorkerHeartbeatAdmin)
show_panel(admin.site)
