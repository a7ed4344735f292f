"""Filter users by the setting `ACTIVE_USERS`: only active users get notifications."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import DatabaseError, connections
from django.db.models import BooleanField, Exists, Expression, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value
from django.utils.module_loading import import_string

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database
from django_webpush_kit.error_reports import error_text, log_error

_logger = logging.getLogger(__name__)


def with_active_users(subscriptions: QuerySet[Any]) -> QuerySet[Any]:
    """Return the subscriptions without a user or with a user in `ACTIVE_USERS`.

    Without the setting, return all: `is_active` is checked when a notification is due.
    """
    users = admitted_users()
    return subscriptions if users is None else subscriptions.filter(_belongs_to(users))


def user_is_active() -> Expression | F:
    """Return an expression over notifications: whether their user is active. Without a user it is True or None.

    An invalid setting is logged, and only `is_active` of the user model is used.
    """
    try:
        users = admitted_users()
    except ImproperlyConfigured as error:
        log_error(_logger, "ACTIVE_USERS is invalid; using only is_active", error=error)
        users = None
    if users is not None:
        return ExpressionWrapper(_belongs_to(users), output_field=BooleanField())
    return is_active_alone()


def is_active_alone() -> Expression | F:
    """Return the same expression without the setting: only `is_active` of the user model."""
    return F("user__is_active") if _has_is_active() else Value(True, output_field=BooleanField())


def is_refused_by_database() -> bool:
    """Return whether the database refuses the query of `ACTIVE_USERS` for every user."""
    database = outbox_database()
    try:
        users = admitted_users()
        if users is not None:
            users.using(database).order_by().values("pk").first()
    except DatabaseError as error:
        if not connections[database].is_usable():
            return False
        log_error(_logger, "ACTIVE_USERS cannot be used: %s", error_text(error), error=error)
        return True
    return False


def admitted_users() -> QuerySet[Any] | None:
    """Return the active users that `ACTIVE_USERS` selects, or None without the setting.

    Raises `ImproperlyConfigured` if the setting is invalid or its function raises.
    """
    given = kit_settings.ACTIVE_USERS
    if not given:
        return None
    users = get_user_model()._base_manager.filter(**({"is_active": True} if _has_is_active() else {}))
    try:
        function = import_string(given) if isinstance(given, str) else given
        admitted = users.filter(**function) if isinstance(function, Mapping) else function(users)
    except Exception as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["ACTIVE_USERS"]: {error_text(error)}') from error
    if not isinstance(admitted, QuerySet) or not issubclass(admitted.model, get_user_model()):
        raise ImproperlyConfigured(
            f'WEBPUSH_KIT["ACTIVE_USERS"]: the function must return a queryset of users, not {type(admitted).__name__}.'
        )
    if admitted.query.is_sliced or admitted.query.combinator:
        raise ImproperlyConfigured(
            'WEBPUSH_KIT["ACTIVE_USERS"]: the function must return a queryset that can be filtered, '
            "not a slice, union, intersection or difference."
        )
    return admitted


def _belongs_to(users: QuerySet[Any]) -> Q:
    return Q(user__isnull=True) | Q(Exists(users.order_by().filter(pk=OuterRef("user_id"))))


def _has_is_active() -> bool:
    try:
        get_user_model()._meta.get_field("is_active")
    except FieldDoesNotExist:
        return False
    return True
