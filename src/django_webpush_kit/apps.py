"""The Django app."""

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from django_webpush_kit import conf  # sets defaults of the model settings before models load


class WebPushKitConfig(AppConfig):
    """`INSTALLED_APPS = [..., "django_webpush_kit"]`."""

    name = "django_webpush_kit"
    label = "webpush_kit"
    verbose_name = _("Web push")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the receivers of Django's login and logout signals."""
        from django_webpush_kit import checks  # noqa: F401  # registers the checks
        from django_webpush_kit.api import logout  # noqa: F401  # connects the receivers

        _connect_observers()


def _connect_observers() -> None:
    from django_webpush_kit import observers

    try:
        if conf.kit_settings.OBSERVERS:
            observers.connect()
    except ImproperlyConfigured:
        pass  # the checks report settings that are no dict
