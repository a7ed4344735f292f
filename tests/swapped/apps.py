"""A host app with models of its own in place of all four."""

from django.apps import AppConfig


class SwappedConfig(AppConfig):
    """Its label sorts before `webpush_kit`, the harder order for migrations."""

    name = "tests.swapped"
    label = "swapped"
    default_auto_field = "django.db.models.BigAutoField"
