"""Check what your project must provide: the URLs, and one database for our tables and the users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model
from django.urls import URLResolver, get_resolver
from django.utils.module_loading import import_string

from django_webpush_kit.checks import messages
from django_webpush_kit.checks.messages import CheckTable, Messages
from django_webpush_kit.database import outbox_database
from django_webpush_kit.models import PushBroadcast, get_analytics_model, get_subscription_model, get_template_model

INCLUDE = 'path("api/v1/push/", include("django_webpush_kit.urls"))'


def are_urls_included() -> bool:
    """Return whether a URLconf of the project includes our URLs, in any namespace and for any host.

    Raises any exception that importing the URLconf raises.
    """
    return any(_includes_ours(get_resolver(name).url_patterns) for name in _urlconfs())


def _urlconfs() -> Iterator[str]:
    yield settings.ROOT_URLCONF
    if getattr(settings, "ROOT_HOSTCONF", None) and find_spec("django_hosts"):
        yield from (host.urlconf for host in import_string("django_hosts.resolvers.get_host_patterns")())


def _includes_ours(patterns: Iterable[Any]) -> bool:
    resolvers = [pattern for pattern in patterns if isinstance(pattern, URLResolver)]
    return any(one.app_name == "webpush_kit" or _includes_ours(one.url_patterns) for one in resolvers)


def _urls() -> Messages:
    try:
        is_included = are_urls_included()
    except Exception:  # noqa: BLE001  # Django's own check reports a URLconf that cannot be imported
        return
    if not is_included:
        yield messages.warning(
            9,
            "django_webpush_kit.urls is not included in the URLconf, so browsers cannot subscribe.",
            f"Add {INCLUDE}.",
        )


def _one_database() -> Messages:
    """Check that all models share a database: foreign keys, joins and cascades need one."""
    try:
        home = outbox_database()
        others: list[type[Model]] = [
            get_user_model(),
            get_subscription_model(),
            get_template_model(),
            get_analytics_model(),
            PushBroadcast,
        ]
        strays = [model for model in others if router.db_for_write(model) != home]
    except ImproperlyConfigured:
        return  # another check reports the missing model
    for model in strays:
        yield messages.error(
            16,
            f"DATABASE_ROUTERS sends {model._meta.label} to the database {router.db_for_write(model)!r}, and "
            f"notifications to {home!r}. Foreign keys cannot reference another database.",
            "Route webpush_kit, your swapped models and the user model to one database.",
        )


CHECKS: CheckTable = (
    ((), _urls),
    ((), _one_database),
)
