"""What mypy's Django plugin reads: the test settings, with the four model settings spelled out.

The tests themselves leave them out, so that the defaults which `django_webpush_kit.conf` sets are what is tested.
"""

from tests.settings import *  # noqa: F403  # the whole of it

WEBPUSH_KIT_SUBSCRIPTION_MODEL = "webpush_kit.PushSubscription"
WEBPUSH_KIT_TEMPLATE_MODEL = "webpush_kit.NotificationTemplate"
WEBPUSH_KIT_NOTIFICATION_MODEL = "webpush_kit.PushNotification"
WEBPUSH_KIT_ANALYTICS_MODEL = "webpush_kit.NotificationAnalytics"
