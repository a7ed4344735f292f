"""The Django app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from django_webpush_kit import conf  # noqa: F401  # puts the model settings on django.conf.settings before models load


class WebPushKitConfig(AppConfig):
    """`INSTALLED_APPS = [..., "django_webpush_kit"]`."""

    name = "django_webpush_kit"
    label = "webpush_kit"
    verbose_name = _("Web push")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the receivers of logging in and out."""
        from django_webpush_kit import checks  # noqa: F401  # registration happens on import
        from django_webpush_kit.api import logout  # noqa: F401  # so do receivers
