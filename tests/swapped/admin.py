"""The admin of a host that swaps models: our classes, registered for its own models."""

from django.contrib import admin

from django_webpush_kit.admin import (
    NotificationAnalyticsAdmin,
    NotificationTemplateAdmin,
    PushNotificationAdmin,
    PushSubscriptionAdmin,
)

from .models import Browser, Letter, Reaction, Wording

admin.site.register(Browser, PushSubscriptionAdmin)
admin.site.register(Reaction, NotificationAnalyticsAdmin)
admin.site.register(Wording, NotificationTemplateAdmin)


@admin.register(Letter)
class LetterAdmin(PushNotificationAdmin):
    list_filter = (*PushNotificationAdmin.list_filter, "campaign")
