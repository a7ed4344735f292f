"""Check the four model settings, and the migrations of the models they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.migrations.exceptions import CircularDependencyError, NodeNotFoundError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import CreateModel
from django.db.models import UniqueConstraint

from django_webpush_kit import base_models, models
from django_webpush_kit.checks import messages
from django_webpush_kit.checks.messages import Messages
from django_webpush_kit.conf import MODEL_SETTINGS

RELATIONS = ("webpush_kit", "0002_relations")
"""The migration whose foreign keys reference the swapped models."""

_BASES = {
    "WEBPUSH_KIT_SUBSCRIPTION_MODEL": (models.get_subscription_model, base_models.AbstractPushSubscription),
    "WEBPUSH_KIT_TEMPLATE_MODEL": (models.get_template_model, base_models.AbstractNotificationTemplate),
    "WEBPUSH_KIT_NOTIFICATION_MODEL": (models.get_notification_model, base_models.AbstractPushNotification),
    "WEBPUSH_KIT_ANALYTICS_MODEL": (models.get_analytics_model, base_models.AbstractNotificationAnalytics),
}


def model_settings() -> Messages:
    """Check that each setting names a model of the right base class whose migration runs in time."""
    swapped = []
    for name, (get_model, base) in _BASES.items():
        try:
            model: Any = get_model()
        except ImproperlyConfigured as error:
            yield messages.error(15, str(error), f'The default is "{MODEL_SETTINGS[name]}".')
            continue
        if not issubclass(model, base):
            yield messages.error(
                15,
                f"{name} names {model._meta.label}, which is not a subclass of {base.__name__}.",
                f"Derive it from django_webpush_kit.base_models.{base.__name__}.",
            )
            continue
        for fields in _lost_constraints(model, base):
            yield messages.error(
                15,
                f"{model._meta.label} has no unique constraint on {', '.join(fields)}.",
                f"Derive its Meta from {base.__name__}.Meta, and run makemigrations.",
            )
        if getattr(settings, name) != MODEL_SETTINGS[name]:
            swapped.append((name, model))
    if swapped:
        yield from _late_migrations(swapped)


def _lost_constraints(model: Any, base: Any) -> Iterator[tuple[str, ...]]:
    """Yield the fields of the unique constraints of an abstract model that a model's own Meta does not have."""
    kept = {tuple(constraint.fields) for constraint in model._meta.total_unique_constraints}
    kept.update((field.name,) for field in model._meta.fields if field.unique)
    for constraint in base.Meta.constraints:
        if isinstance(constraint, UniqueConstraint) and tuple(constraint.fields) not in kept:
            yield tuple(constraint.fields)


def _late_migrations(swapped: Iterable[tuple[str, Any]]) -> Messages:
    """Find models whose migration may run too late for ours.

    Our migration depends on the first migration of a swapped model's app. If a later migration creates the model, that
    migration must declare `run_before`.
    """
    try:
        loader = MigrationLoader(None, ignore_no_migrations=True)
        before = set(loader.graph.forwards_plan(RELATIONS))
    except (CircularDependencyError, NodeNotFoundError, KeyError, ImportError):
        return  # `migrate` reports it more precisely
    for name, model in swapped:
        creator = next((key for key in loader.disk_migrations if _creates(loader, key, model)), None)
        if creator is not None and creator not in before:
            yield messages.warning(
                6,
                f"{name}: {model._meta.label} is created in migration {'.'.join(creator)}, which may run after "
                f"{'.'.join(RELATIONS)}.",
                f"Add `run_before = [{RELATIONS}]` to that migration.",
            )


def _creates(loader: MigrationLoader, key: tuple[str, str], model: Any) -> bool:
    return key[0] == model._meta.app_label and any(
        isinstance(operation, CreateModel) and operation.name_lower == model._meta.model_name
        for operation in loader.disk_migrations[key].operations
    )
