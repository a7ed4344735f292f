from django.apps import AppConfig

from django_webpush_kit.signals import subscription_created


class StudioConfig(AppConfig):
    name = "studio"
    verbose_name = "Studio Grünspecht"

    def ready(self):
        from studio.notifications import remind_new_browser

        subscription_created.connect(remind_new_browser, dispatch_uid="studio_remind_new_browser")
