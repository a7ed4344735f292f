"""Filter users by the setting `ACTIVE_USERS`: only active users get notifications."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import BooleanField, Exists, Expression, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value
from django.utils.module_loading import import_string

from django_webpush_kit.conf import kit_settings

_logger = logging.getLogger(__name__)


def with_active_users(subscriptions: QuerySet[Any]) -> QuerySet[Any]:
    """Return the subscriptions without a user or with a user in `ACTIVE_USERS`.

    Without the setting, return all: `is_active` is checked when a notification is due.
    """
    users = admitted_users()
    return subscriptions if users is None else subscriptions.filter(_belongs_to(users))


def user_is_active() -> Expression | F:
    """What to select of a notification to learn whether its user is active; nobody's notification has True or None.

    A setting that cannot be used is logged; then `is_active` of the user model alone decides.
    """
    try:
        users = admitted_users()
    except ImproperlyConfigured:
        _logger.exception("ACTIVE_USERS is invalid; using only is_active")
        users = None
    if users is not None:
        return ExpressionWrapper(_belongs_to(users), output_field=BooleanField())
    return F("user__is_active") if _has_is_active() else Value(True, output_field=BooleanField())


def admitted_users() -> QuerySet[Any] | None:
    """The users whom `ACTIVE_USERS` admits, of those that are active; None without the setting.

    Raises `ImproperlyConfigured` for a setting that cannot be used, whatever its function raises.
    """
    given = kit_settings.ACTIVE_USERS
    if not given:
        return None
    users = get_user_model()._base_manager.filter(**({"is_active": True} if _has_is_active() else {}))
    try:
        function = import_string(given) if isinstance(given, str) else given
        admitted = users.filter(**function) if isinstance(function, Mapping) else function(users)
    except Exception as error:
        raise ImproperlyConfigured(f'WEBPUSH_KIT["ACTIVE_USERS"]: {type(error).__name__}: {error}') from error
    if not isinstance(admitted, QuerySet):
        raise ImproperlyConfigured(
            f'WEBPUSH_KIT["ACTIVE_USERS"]: the function must return a queryset, not {type(admitted).__name__}.'
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
