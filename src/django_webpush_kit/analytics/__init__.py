"""Statistics of delivery and engagement.

NotificationAnalyticsService().get_notification_stats(days=7, type="order_shipped")
"""

from django_webpush_kit.analytics.figures import percentage
from django_webpush_kit.analytics.service import NotificationAnalyticsService

__all__ = ["NotificationAnalyticsService", "percentage"]
