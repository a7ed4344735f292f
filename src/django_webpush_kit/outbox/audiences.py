"""Named audiences of broadcasts: the built-in ones and those in the setting `AUDIENCES`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db.models import CharField, F, Func, Q, QuerySet
from django.utils.module_loading import import_string

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.outbox.pages import active_subscriptions
from django_webpush_kit.outbox.recipients import belonging_to

EVERYBODY = "all"
OPTED_IN = "opted-in"
"""The built-in audiences: subscribers who have not opted out of the type, and subscribers who explicitly opted in."""


class Choice(Func):
    """What a subscriber chose for a notification type: "true", "false" or, without a choice, NULL.

    Django's `KeyTransform` takes a type such as "-1" for the index of an array. SQLite's paths have no form for a key
    with a quotation mark.
    """

    output_field = CharField()

    def __init__(self, type_: str) -> None:
        super().__init__(F("preferences"))
        self._type = type_

    def as_postgresql(self, compiler: Any, connection: Any, **_context: Any) -> tuple[str, tuple[Any, ...]]:
        """Return SQL for PostgreSQL."""
        return self._sql(compiler, "({0} #>> %s)", ["categories", self._type])

    def as_mysql(self, compiler: Any, connection: Any, **_context: Any) -> tuple[str, tuple[Any, ...]]:
        """Return SQL for MySQL and MariaDB. MariaDB finds no key such as "-1" by its path."""
        yes, no = (json.dumps({"categories": {self._type: choice}}) for choice in (True, False))
        template = "(CASE WHEN JSON_CONTAINS({0}, %s) THEN 'true' WHEN JSON_CONTAINS({0}, %s) THEN 'false' END)"
        return self._sql(compiler, template, yes, no)

    def as_sqlite(self, compiler: Any, connection: Any, **_context: Any) -> tuple[str, tuple[Any, ...]]:
        """Return SQL for SQLite."""
        return self._sql(compiler, "(SELECT type FROM json_each({0}, '$.categories') WHERE key = %s)", self._type)

    def _sql(self, compiler: Any, template: str, *parameters: Any) -> tuple[str, tuple[Any, ...]]:
        column, _none = compiler.compile(self.source_expressions[0])  # a column has no parameters
        return template.format(column), parameters


def audience(name: str, type_: str, *, with_users: bool = False) -> QuerySet[Any]:
    """Return the active subscriptions of an audience, without those that opted out of the notification type.

    "all" and "opted-in" are built in. Other audiences are functions in the setting `AUDIENCES` that return a queryset
    of users or of subscriptions.
    """
    candidates, wants = audience_candidates(name, type_, with_users=with_users)
    return candidates.filter(wants)


def audience_candidates(name: str, type_: str, *, with_users: bool = False) -> tuple[QuerySet[Any], Q]:
    """Return the active subscriptions of an audience with those that opted out, and the condition that leaves them out.

    The condition can be used with this queryset only.
    """
    candidates: QuerySet[Any] = active_subscriptions(with_users=with_users)
    if name not in (EVERYBODY, OPTED_IN):
        candidates = belonging_to(candidates, _members(name))
    is_on_by_default = kit_settings.NOTIFICATION_TYPES.get(type_, {}).get("default", True)
    candidates = candidates.alias(_wants=Choice(type_))
    if name == OPTED_IN or not is_on_by_default:
        return candidates, Q(_wants="true")
    return candidates, Q(_wants="true") | Q(_wants__isnull=True)


def audience_names() -> list[str]:
    """Return the names of the built-in audiences, then those in the setting `AUDIENCES`."""
    return [EVERYBODY, OPTED_IN, *sorted(kit_settings.AUDIENCES)]


def check_audience(name: str) -> None:
    """Raise `InvalidOption` if the audience does not exist."""
    if not isinstance(name, str):
        raise InvalidOption(f"audience must be str, not {type(name).__name__}")
    if name not in (EVERYBODY, OPTED_IN):
        _audience_function(name)


def _members(name: str) -> QuerySet[Any]:
    members = _audience_function(name)()
    models = (get_user_model(), get_subscription_model())
    if isinstance(members, QuerySet) and issubclass(members.model, models):
        return members
    raise InvalidOption(
        f'AUDIENCES["{name}"] must return a queryset of users or of subscriptions, not {type(members).__name__}'
    )


def _audience_function(name: str) -> Callable[[], QuerySet[Any]]:
    function = kit_settings.AUDIENCES.get(name)
    if function is None:
        known = ", ".join(sorted(audience_names()))
        raise InvalidOption(f"audience {name!r} does not exist. Available audiences: {known}")
    if isinstance(function, str):
        try:
            function = import_string(function)
        except ImportError as error:
            raise ImproperlyConfigured(f'WEBPUSH_KIT["AUDIENCES"]: {name!r} cannot be imported: {error}') from error
    found: Callable[[], QuerySet[Any]] = function
    return found
