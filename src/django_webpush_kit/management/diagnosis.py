"""Checks of `push_doctor`. They send no messages.

An exception in one check becomes a finding, and the other checks still run.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from django_webpush_kit.caching import default_cache, is_cache_shared
from django_webpush_kit.checks import TAG
from django_webpush_kit.checks.project import INCLUDE, are_urls_included
from django_webpush_kit.conf import MODEL_SETTINGS, backend_spec, kit_settings, swapped_model, vapid_keyring
from django_webpush_kit.database import GRANT, clock_difference, is_denied, outbox_database, try_writing
from django_webpush_kit.delivery.pacing import send_limits
from django_webpush_kit.delivery.problems import SERIOUS_LOST_KEY_SHARE, clock_problems
from django_webpush_kit.health import UNHEALTHY, get_health
from django_webpush_kit.management.findings import Finding, failure, guarded, in_words
from django_webpush_kit.management.link_diagnosis import examine_links, known_base
from django_webpush_kit.management.queue_diagnosis import examine_queue
from django_webpush_kit.management.static_diagnosis import examine_static_files
from django_webpush_kit.models import get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.states import UNFINISHED
from django_webpush_kit.templating.lint import lint_templates

LEVELS = {checks.DEBUG: "hint", checks.INFO: "hint", checks.WARNING: "warning"}

PRUNING_GRACE = timedelta(days=2)
"""Tolerance beyond RETENTION_DAYS, because pruning runs only from time to time."""

URLS_CHECK = "webpush_kit.W009"
"""Id of the system check that the doctor replaces with an error."""

NO_KEY_CHECK = "webpush_kit.W002"
"""Id of the system check for a missing VAPID key. There an error would stop `migrate`; here it is one."""

EXAMINED_HERE = ("clock", "keys")
"""Areas of health that the doctor examines itself, and more closely."""


def examine() -> Iterator[Finding]:
    """Yield every finding. Checks that need tables are skipped when tables are missing."""
    found = guarded("settings", _settings)
    yield from found
    if any(finding.text.endswith("(webpush_kit.E001)") for finding in found):
        return  # without settings nothing else can be examined
    for area, part in (("urls", _urls), ("cache", _cache), ("proxy", _proxy), ("scope", _scope)):
        yield from guarded(area, part)
    database = guarded("database", _database)
    yield from database
    if any(finding.level == "error" for finding in database):
        return
    for area, part in (
        ("clock", _clock),
        ("keys", _keys),
        ("subscriptions", _subscriptions),
        ("queue", examine_queue),
        ("retention", _retention),
        ("templates", _templates),
        ("health", _health),
        ("rates", _rates),
    ):
        yield from guarded(area, partial(_in_transaction, part))


def _in_transaction(part: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run a check in its own transaction, so that a failed query does not break the other checks."""
    with transaction.atomic(using=outbox_database()):
        yield from part()


def _settings() -> Iterator[Finding]:
    for message in checks.run_checks(tags=[TAG], include_deployment_checks=True):
        if not message.is_silenced() and message.id != URLS_CHECK:
            level = "error" if message.id == NO_KEY_CHECK else LEVELS.get(message.level, "error")
            yield Finding(level, "settings", f"{message.msg} ({message.id})", message.hint or "")


def _urls() -> Iterator[Finding]:
    if URLS_CHECK in settings.SILENCED_SYSTEM_CHECKS:
        return
    try:
        is_included = are_urls_included()
    except Exception as error:  # noqa: BLE001  # importing the project's URLconf may raise anything
        yield Finding("error", "urls", f"The URLconf cannot be imported: {in_words(error)}", "Correct ROOT_URLCONF.")
        return
    if not is_included and not known_base():
        yield Finding(
            "error",
            "urls",
            "django_webpush_kit.urls is not included in the URLconf, so browsers cannot subscribe.",
            f"Add {INCLUDE} to the URLconf.",
        )
    yield from examine_links()
    yield from examine_static_files()


def _cache() -> Iterator[Finding]:
    if not is_cache_shared():
        return  # the settings check reports it if it matters
    key, value = "webpush_kit:doctor", str(time.time())

    def ask(cache: BaseCache) -> None:
        cache.set(key, value, 60)
        if cache.get(key) != value:
            raise RuntimeError("it does not return what was stored")

    try:
        cache = default_cache()
    except Exception as error:  # noqa: BLE001  # backends raise errors of their own
        reason = in_words(error)
    else:
        reason = failure(partial(ask, cache))
    if reason:
        yield Finding(
            "error",
            "cache",
            f"The default cache does not work: {reason}. Rate limits and wake-ups depend on it.",
            'Start the cache server, or correct CACHES["default"]. For a database cache, run createcachetable.',
        )


def _proxy() -> Iterator[Finding]:
    try:
        proxy = backend_spec("TRANSPORT")[1].get("proxy")
    except ImproperlyConfigured:
        return  # reported with the settings
    if not isinstance(proxy, str) or not proxy:
        return
    parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    reason = failure(lambda: socket.create_connection((host, port), timeout=3).close())
    if reason:
        yield Finding(
            "error",
            "proxy",
            f"The proxy {host}:{port} of TRANSPORT does not accept connections: {reason}.",
            "Start the proxy, or correct the option.",
        )


def _scope() -> Iterator[Finding]:
    if apps.is_installed("django_tenants") and not kit_settings.SCOPE:
        yield Finding(
            "warning",
            "scope",
            "django_tenants is installed, but SCOPE is empty: all tenants share tokens, cache keys and wake-ups.",
            'Set WEBPUSH_KIT["SCOPE"] to a function that returns the schema of the connection.',
        )


def _database() -> Iterator[Finding]:
    connection = connections[outbox_database()]
    try:
        connection.ensure_connection()
    except Exception as error:  # noqa: BLE001  # drivers raise errors of their own
        yield Finding(
            "error", "database", f"The database does not answer: {in_words(error)}", "Start it, or correct DATABASES."
        )
        return
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes(TAG))
    missing = [f"{migration.app_label}.{migration.name}" for migration, _is_backwards in plan]
    if missing:
        text = f"Migrations are missing: {', '.join(missing)}."
        yield Finding("error", "database", text, "python manage.py migrate")
        return
    yield from _tables(connection)
    yield from _writes()


def _tables(connection: Any) -> Iterator[Finding]:
    """Find models that were swapped after `migrate`: missing tables, and foreign keys to the old table."""
    tables = set(connection.introspection.table_names())
    for name in MODEL_SETTINGS:
        model = swapped_model(name)
        table = model._meta.db_table
        if table not in tables:
            text = f"The table {table} of {name} = {model._meta.label!r} does not exist."
            yield Finding("error", "database", text, f"python manage.py migrate {model._meta.app_label}")
            continue
        with connection.cursor() as cursor:
            relations = connection.introspection.get_relations(cursor, table)
        for field in model._meta.concrete_fields:
            actual = relations.get(field.column, ("", ""))[1]
            if field.is_relation and actual and actual != field.related_model._meta.db_table:
                yield Finding(
                    "error",
                    "database",
                    f"{table}.{field.column} references the table {actual}, but the settings say "
                    f"{field.related_model._meta.db_table}: a model setting was changed after migrate.",
                    "Restore the setting, or move the data as the how-to for swapping models shows.",
                )


def _writes() -> Iterator[Finding]:
    """Find tables that the database user may not write to, or a database that is read-only."""
    models = {*apps.get_app_config(TAG).get_models(), *map(swapped_model, MODEL_SETTINGS)}
    for model in sorted(models, key=lambda model: model._meta.db_table):
        try:
            try_writing(model)
        except DatabaseError as error:
            text = f"The database refuses to write to {model._meta.db_table}: {in_words(error)}"
            yield Finding("error", "database", text, GRANT if is_denied(error) else "Correct DATABASES.")
            if not is_denied(error):
                return  # the same holds for the others


def _clock() -> Iterator[Finding]:
    for problem in clock_problems(clock_difference()):
        yield Finding(_level(problem.is_serious), "clock", problem.text, problem.fix)


def _keys() -> Iterator[Finding]:
    try:
        keyring = vapid_keyring()
    except ImproperlyConfigured:
        return  # reported with the settings
    known = ["", keyring.current.key_id, *(key.key_id for key in keyring.fallbacks)]
    active = get_subscription_model().objects.using(outbox_database()).filter(is_active=True)
    lost = active.exclude(vapid_key_id__in=known).count()
    if lost:
        noun = "active subscription was" if lost == 1 else "active subscriptions were"
        yield Finding(
            _level(lost >= active.count() * SERIOUS_LOST_KEY_SHARE),
            "keys",
            f"{lost} {noun} created with a VAPID key that is no longer configured.",
            "Add the former private key to VAPID_FALLBACK_PRIVATE_KEYS until browsers have renewed them.",
        )


def _subscriptions() -> Iterator[Finding]:
    subscriptions = get_subscription_model().objects.using(outbox_database())
    if not subscriptions.active().exists():
        yield Finding(
            "hint",
            "subscriptions",
            "No browser is subscribed any more." if subscriptions.exists() else "No browser has subscribed yet.",
            "Open a page with the switch (<webpush-toggle>), turn it on, and allow notifications.",
        )


def _retention() -> Iterator[Finding]:
    cutoff = timezone.now() - timedelta(days=kit_settings.RETENTION_DAYS) - PRUNING_GRACE
    rows = get_notification_model().objects.using(outbox_database())
    if rows.filter(created_at__lt=cutoff).exclude(status__in=UNFINISHED).exists():
        yield Finding(
            "warning",
            "retention",
            f"Finished notifications older than RETENTION_DAYS ({kit_settings.RETENTION_DAYS}) are still stored: "
            "pruning does not run.",
            "Run `python manage.py push_prune` daily, or schedule cleanup_expired_subscriptions in your queue.",
        )


def _templates() -> Iterator[Finding]:
    for problem in lint_templates(get_template_model().objects.using(outbox_database())):
        yield Finding("warning", "templates", str(problem))


def _rates() -> Iterator[Finding]:
    for limit in send_limits():
        if limit.throttled_at is not None:
            yield Finding(
                "warning",
                "rates",
                str(limit),
                "Send fewer messages that people do not open, or spread broadcasts over time: broadcast(rate=...). The "
                "rate rises by itself, and is forgotten after six hours without throttling.",
            )


def _health() -> Iterator[Finding]:
    for finding in get_health(details=True)["findings"]:
        if finding["area"] not in EXAMINED_HERE:
            yield Finding(_level(finding["level"] == UNHEALTHY), "health", finding["text"], finding["fix"])


def _level(is_serious: bool) -> str:
    """Return the level of a problem that makes health unhealthy or degraded."""
    return "error" if is_serious else "warning"
