"""Bulkheads: every call into code of the project; an exception there ends its own row, request or broadcast alone.

The calls are found in the source. One that no bulkhead lists fails `test_every_call_is_listed`.
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError
from django.template import Library
from django.urls import reverse

import django_webpush_kit
from django_webpush_kit import services, signals
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.worker import Worker
from django_webpush_kit.health import get_health
from django_webpush_kit.models import PushBroadcast, get_analytics_model, get_notification_model
from django_webpush_kit.observers import Observer
from django_webpush_kit.task_backends import TaskBackend
from django_webpush_kit.transports import PushResponse, Transport
from tests.factories import make_subscription, make_template, make_user

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(django_webpush_kit.__file__).parent

# The calls, found in the source


class Site(NamedTuple):
    """A place in the source where code of the project is called, or fetched to be called."""

    module: str
    function: str
    call: str

    def __str__(self) -> str:
        return f"{self.module} {self.function} {self.call}"


FUNCTIONS = {"import_string", "emit", "ask_cache", "current_scope", "get_transport", "get_task_backend"}
METHODS = {
    "send_robust",
    "db_for_read",
    "db_for_write",
    "wake",
    "wake_all",
    "enqueue",
    "on_backlog",
    "exception",
    "render_values",
}
SETTINGS = {"RECIPIENT_CONTEXT", "AUDIENCES", "AUTHENTICATORS", "ACTIVE_USERS", "SCOPE"}
MANAGERS = {"_base_manager", "_default_manager"}
OBJECTS = {"cache", "caches", "transport"}
"""Objects of the project: each of their methods is its code."""

OWN = ("transports/curl", "transports/pywebpush")
"""Modules in which `transport` is one of ours."""


def sites_of(path: Path) -> Iterator[Site]:
    module = path.relative_to(ROOT).with_suffix("").as_posix()
    pending: list[tuple[ast.AST, str]] = [(ast.parse(path.read_text(encoding="utf-8")), "")]
    while pending:
        node, scope = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}".lstrip(".")
        call = call_of(node)
        if call and not (module in OWN and call.startswith("transport.")):
            yield Site(module, scope, call)
        pending += [(child, scope) for child in ast.iter_child_nodes(node)]


def call_of(node: ast.AST) -> str:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in FUNCTIONS:
        return node.id
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in OBJECTS:
        return f"{node.value.id}[]"
    if not isinstance(node, ast.Attribute):
        return ""
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    if owner in OBJECTS:
        return f"{owner}.{node.attr}"
    is_setting = owner == "kit_settings" and node.attr in SETTINGS
    return node.attr if is_setting or node.attr in METHODS | MANAGERS else ""


@cache
def sites() -> frozenset[Site]:
    paths = [path for path in ROOT.rglob("*.py") if "testing" not in path.relative_to(ROOT).parts]
    return frozenset(site for path in paths for site in sites_of(path))


# The bulkheads


class Bulkhead(NamedTuple):
    """Calls of one kind, and what happens when one of them raises. `test` is the test that shows it."""

    consequence: str
    test: str
    calls: str

    @property
    def sites(self) -> set[Site]:
        return {Site(*line.split()) for line in self.calls.strip().splitlines()}


BULKHEADS = {
    "receivers of signals": Bulkhead(
        "The error is logged. The other receivers are called, and what the signal told of stays as it is.",
        "test_receivers",
        """
        signals emit send_robust
        api/events record emit
        delivery/fan_out _finish emit
        delivery/outcomes Recorder._tell emit
        outbox/batches _announce emit
        subscriptions/deactivation announce_deactivation emit
        subscriptions/registration register emit
        """,
    ),
    "receivers of pre_send": Bulkhead(
        "The row they were asked about fails with the type of the exception as reason. All others are sent.",
        "test_pre_send",
        "delivery/requests RequestBuilder._received_message send_robust",
    ),
    "RECIPIENT_CONTEXT": Bulkhead(
        "The recipient is counted as failed and skipped.",
        "test_recipient_context",
        """
        templating/context recipient_values RECIPIENT_CONTEXT
        templating/context recipient_values import_string
        """,
    ),
    "template filters": Bulkhead(
        "The recipient whose values they were given is counted as failed and skipped.",
        "test_template_filters",
        "templating/compiled CompiledTemplate._render render_values",
    ),
    "AUDIENCES": Bulkhead(
        "The broadcast to that audience fails with the reason, and can be resumed. Other broadcasts go on.",
        "test_audiences",
        """
        outbox/audiences _audience_function AUDIENCES
        outbox/audiences _audience_function import_string
        outbox/audiences audience_names AUDIENCES
        """,
    ),
    "AUTHENTICATORS": Bulkhead(
        "The credentials of that one request are refused, or get 503 in an outage. Nothing else is concerned.",
        "test_authenticators",
        """
        api/authentication authenticate AUTHENTICATORS
        api/authentication authenticate import_string
        """,
    ),
    "ACTIVE_USERS": Bulkhead(
        "Delivery logs it and goes by `is_active` alone.",
        "test_active_users",
        """
        subscriptions/active_users admitted_users ACTIVE_USERS
        subscriptions/active_users admitted_users import_string
        """,
    ),
    "SCOPE": Bulkhead(
        "Nobody's tokens can be signed: the call ends with ImproperlyConfigured, and no row is failed by it.",
        "test_scope",
        """
        conf current_scope SCOPE
        conf current_scope import_string
        health _scope current_scope
        caching scoped_key current_scope
        delivery/heartbeats task_heartbeat current_scope
        delivery/unfinished _key current_scope
        tokens scoped_salt current_scope
        """,
    ),
    "transports": Bulkhead(
        "One row in flight fails; several are sent again one at a time, until the row that it raises for is alone.",
        "test_transports",
        """
        delivery/engine _responses transport.send
        delivery/engine deliver get_transport
        delivery/engine _deliver_within get_transport
        delivery/flow Flow.__init__ transport.accepts_pauses
        delivery/flow _capacity transport.accepts_pauses
        delivery/flow _capacity transport.max_in_flight
        delivery/transport _build import_string
        delivery/transport transport_spec import_string
        """,
    ),
    "task backends": Bulkhead(
        "The wake-up is lost and logged. The sweep finds the rows; the caller's transaction stays committed.",
        "test_task_backends",
        """
        delivery/engine Bounds._ask_for_help on_backlog
        delivery/worker Worker._step get_task_backend
        health _task_backend get_task_backend
        delivery/worker Worker._step wake_all
        task_backends/base TaskBackend.wake_all wake
        task_backends/base _WakeUp.__call__ wake
        task_backends/base _WakeUp.__call__ get_task_backend
        task_backends/base QueueBackend._enqueue enqueue
        task_backends/base get_task_backend import_string
        task_backends/base deliver_now import_string
        task_backends/celery CeleryBackend.__init__ import_string
        task_backends/django_tasks DjangoTasksBackend.enqueue enqueue
        task_backends/django_tasks __getattr__ get_task_backend
        task_backends/django_tasks _task_decorator import_string
        task_backends/django_tasks _wake_up import_string
        tasks cleanup_expired_subscriptions get_task_backend
        tasks _deliver get_task_backend
        tasks _deliver wake
        tasks _deliver wake_all
        """,
    ),
    "DATABASE_ROUTERS": Bulkhead(
        "The call that asks ends with the error. Nothing is claimed; the worker tries again.",
        "test_routers",
        """
        admin/deleting deleted_objects db_for_write
        database outbox_database db_for_write
        outbox/recipients on_primary db_for_write
        privacy _log_entries db_for_write
        """,
    ),
    "the cache": Bulkhead(
        "It is done without: wake-ups may double, statistics are computed, rate limits do not apply.",
        "test_cache",
        """
        api/throttling _count cache.add
        api/throttling _count cache.incr
        caching default_cache caches[]
        caching is_cache_shared caches[]
        caching _find ask_cache
        caching _find cache.get
        caching _store ask_cache
        caching _store cache.set
        task_backends/base QueueBackend._enqueue ask_cache
        task_backends/base QueueBackend._enqueue cache.delete
        task_backends/base QueueBackend._enqueue cache.set
        task_backends/base QueueBackend.find_outage ask_cache
        task_backends/base QueueBackend.find_outage cache.get
        task_backends/base _mark_wake_up_pending ask_cache
        task_backends/base _mark_wake_up_pending cache.add
        task_backends/base clear_pending_wake_up ask_cache
        task_backends/base clear_pending_wake_up cache.delete
        """,
    ),
    "managers of the user model": Bulkhead(
        "Never asked: users are read through the base manager, which no project filters or breaks.",
        "test_managers",
        """
        admin/finding find_users _base_manager
        api/authentication _stored _base_manager
        delivery/fan_out _is_table_missing _base_manager
        outbox/rows _lock _base_manager
        outbox/rows _existing _base_manager
        outbox/rows _has_lost_its_recipient _base_manager
        readable_rows _moment _base_manager
        readable_rows read_moments _base_manager
        subscriptions/active_users admitted_users _base_manager
        subscriptions/importing _stored_users _base_manager
        subscriptions/registrants ByUser.check_limit _base_manager
        """,
    ),
    "error reporters": Bulkhead(
        "A log handler that raises stops nothing; its own traceback goes to stderr.",
        "test_error_reporters",
        """
        management/importing ImportCommand._found exception
        """,
    ),
    "OBSERVERS": Bulkhead(
        "The observer that raises is logged. The others are told, and delivery goes on.",
        "test_observers",
        "observers make_observer import_string",
    ),
    "commands and checks": Bulkhead(
        "The command ends with its error, the check or the doctor reports it. Nothing that is due waits for them.",
        "test_commands",
        """
        checks/deployment _private_cache get_task_backend
        checks/deployment _workers get_task_backend
        checks/project _one_database db_for_write
        checks/project _urlconfs import_string
        checks/queues _queue get_task_backend
        checks/values _accepted_options import_string
        checks/values _dotted_paths AUDIENCES
        checks/values _dotted_paths AUTHENTICATORS
        checks/values _dotted_paths RECIPIENT_CONTEXT
        checks/values _dotted_paths import_string
        checks/values _scope current_scope
        checks/values _task_backend get_task_backend
        checks/values _transport get_transport
        management/commands/push_import_django_webpush Command.rows _default_manager
        management/commands/push_import_push_notifications Command.rows _default_manager
        management/commands/push_resume Command.handle get_task_backend
        management/commands/push_resume Command.handle wake_all
        management/commands/push_schedule Command.handle get_task_backend
        management/diagnosis _cache.ask cache.get
        management/diagnosis _cache.ask cache.set
        management/diagnosis _scope SCOPE
        management/queue_diagnosis _django_q db_for_read
        management/queue_diagnosis examine_queue get_task_backend
        management/users find_user _default_manager
        """,
    ),
}


def test_every_call_is_listed():
    listed = set(chain.from_iterable(bulkhead.sites for bulkhead in BULKHEADS.values()))
    assert sorted(sites() - listed) == [], "These calls into code of the project have no bulkhead."
    assert sorted(listed - sites()) == [], "These calls are listed and no longer there."


def test_every_bulkhead_has_a_test():
    assert [one.test for one in BULKHEADS.values() if not callable(globals().get(one.test))] == []


# What is raised


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text either")

    __repr__ = __str__


ERRORS = [
    KeyError("name"),
    StopIteration(),
    UnprintableError(),
    OperationalError("gone away"),
]
MORE_ERRORS = [
    ValueError("text with \x00"),
    PermissionDenied("not you"),
    ImproperlyConfigured("not so"),
    IntegrityError("duplicate key"),
    type("É" * 300, (Exception,), {})("a long name"),
]

each_error = pytest.mark.parametrize(
    "error",
    [*ERRORS, *(pytest.param(error, marks=pytest.mark.thorough) for error in MORE_ERRORS)],
    ids=lambda error: type(error).__name__[:20].encode("ascii", "replace").decode(),
)

switch: dict[str, object] = {}
"""What the code of the project does in this test: `switch["error"]` is raised for whom `switch["culprit"]` names."""


@pytest.fixture(autouse=True)
def _switched_off():
    switch.clear()
    yield
    switch.clear()


def raise_it(*_args, **_kwargs):
    raise switch["error"]


def raise_for_culprit(user):
    if user.username == "culprit":
        raise switch["error"]
    return {"first_name": user.username}


@pytest.fixture
def people():
    """Three users with a browser each; the second is the one that things are raised for."""
    return [make_subscription(make_user(name)) for name in ("ada", "culprit", "grace")]


def send_to_all(people, **options):
    return services.send([subscription.user for subscription in people], "Hello", **options)


def statuses():
    """The status of each user's row."""
    return dict(get_notification_model().objects.values_list("user__username", "status"))


def deliver_with_a_worker():
    """Run the loop of a worker until nothing is pending, for a few seconds at most."""
    rows = get_notification_model().objects.filter(status__in=["pending", "sending"])
    broadcasts = PushBroadcast.objects.filter(status__in=["pending", "running"], next_page_at=None)
    Worker(seconds=8, is_abandoned=lambda: not rows.exists() and not broadcasts.exists()).run_for_ever(0.05)


# What happens


@each_error
def test_receivers(people, error):
    switch["error"] = error
    heard = []

    def listen(**kwargs):
        heard.append(kwargs["signal"])

    every = [
        signals.subscription_created,
        signals.subscription_deactivated,
        signals.notifications_queued,
        signals.post_send,
        signals.event_recorded,
    ]
    for signal in every:
        signal.connect(listen, weak=False)
        signal.connect(raise_it)
    try:
        make_template("news", title_template="News")
        joined = make_subscription(make_user("joan"))
        send_to_all([*people, joined])
        broadcast = services.broadcast("news")
        deliver_with_a_worker()
        services.unsubscribe(joined)
        row = get_notification_model().objects.filter(user=people[0].user).first()
        from django_webpush_kit.api.events import record_click

        record_click(row, "")
    finally:
        for signal in every:
            signal.disconnect(raise_it)
            signal.disconnect(listen)
    assert set(heard) == set(every)
    assert set(get_notification_model().objects.values_list("status", flat=True)) == {"sent"}
    assert get_notification_model().objects.count() == 8
    broadcast.refresh_from_db()
    assert broadcast.status == PushBroadcast.Status.COMPLETED
    assert get_analytics_model().objects.count() == 1
    joined.refresh_from_db()
    assert not joined.is_active


@each_error
def test_pre_send(people, error):
    def receiver(notification, **kwargs):
        if notification.user.username == "culprit":
            raise error

    signals.pre_send.connect(receiver, weak=False)
    try:
        send_to_all(people)
        deliver_due()
    finally:
        signals.pre_send.disconnect(receiver)
    assert statuses() == {"ada": "sent", "culprit": "failed", "grace": "sent"}


@each_error
def test_recipient_context(people, push_settings, error):
    switch["error"] = error
    push_settings(RECIPIENT_CONTEXT=f"{__name__}.raise_for_culprit")
    make_template("hello", title_template="Hello {{ recipient.first_name }}")
    result = services.send_templated("hello", [one.user for one in people])
    broadcast = services.broadcast("hello")
    deliver_with_a_worker()
    broadcast.refresh_from_db()
    assert statuses() == {"ada": "sent", "grace": "sent"}
    assert (result.queued, broadcast.status, broadcast.queued, broadcast.failed) == (2, "completed", 2, 1)


library = Library()


@library.filter
def touchy(value):
    if value == "culprit":
        raise switch["error"]
    return value


@each_error
def test_template_filters(people, settings, error):
    switch["error"] = error
    libraries = {"touchy": __name__}
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {"libraries": libraries, "builtins": [__name__]}}]
    make_template("hello", title_template="Hello {{ recipient.username|upper }}", body_template="")
    with suppress(Exception):
        make_template("touchy", title_template="{% load touchy %}Hello {{ recipient.username|touchy }}")
        services.broadcast("touchy")
    other = services.broadcast("hello")
    deliver_with_a_worker()
    other.refresh_from_db()
    assert (other.status, other.queued) == ("completed", 3)
    assert {row.status for row in get_notification_model().objects.filter(batch=other.batch)} == {"sent"}


@each_error
def test_audiences(people, push_settings, error):
    switch["error"] = error
    push_settings(AUDIENCES={"broken": raise_it, "everybody": everybody})
    make_template("news", title_template="News")
    broken = services.broadcast("news", "broken", urgency="high")
    others = [services.broadcast("news", "everybody"), services.broadcast("news")]
    deliver_with_a_worker()
    for one in (broken, *others):
        one.refresh_from_db()
    assert [one.queued for one in (broken, *others)] == [0, 3, 3]
    assert broken.failure_reason
    push_settings(AUDIENCES={"broken": everybody, "everybody": everybody})
    if broken.status == PushBroadcast.Status.FAILED:
        services.resume_broadcast(broken)
    PushBroadcast.objects.update(next_page_at=None)
    deliver_due()
    broken.refresh_from_db()
    assert (broken.status, broken.queued) == ("completed", 3)


def everybody():
    return get_user_model().objects.all()


def by_name(request):
    """The user that a header names; raises for the culprit."""
    name = request.headers.get("X-User")
    if name == "culprit":
        raise switch["error"]
    return get_user_model().objects.filter(username=name).first()


@each_error
def test_authenticators(people, push_settings, client, error):
    switch["error"] = error
    push_settings(AUTHENTICATORS=[f"{__name__}.by_name"])
    body = {"categories": {"news": False}}

    def put(name, subscription):
        given = {"endpoint": subscription.endpoint, "preferences": body}
        headers = {"X-User": name}
        return client.put(
            reverse("webpush_kit:preferences"), json.dumps(given), content_type="application/json", headers=headers
        )

    assert put("culprit", people[1]).status_code == (503 if isinstance(error, OperationalError) else 401)
    assert put("ada", people[0]).status_code == 200


@each_error
def test_active_users(people, push_settings, error):
    switch["error"] = error
    send_to_all(people)
    push_settings(ACTIVE_USERS=f"{__name__}.raise_it")
    deliver_with_a_worker()
    assert set(statuses().values()) == {"sent"}


@pytest.mark.parametrize(
    "unusable",
    [
        lambda users: users.extra(where=["no_such_column = 1"]),
        lambda users: users.filter(pk__in=users.extra(where=["syntax error here"]).values("pk")),
        lambda users: users[:2],
        lambda users: users.union(users),
        lambda users: users.filter(nonsense=True),
        lambda users: get_notification_model().objects.all(),
        lambda users: users.values("username"),
        lambda users: None,
    ],
    ids=["column", "syntax", "slice", "union", "lookup", "another model", "values", "None"],
)
def test_active_users_that_the_database_cannot_be_asked_for(people, push_settings, unusable):
    send_to_all(people)
    push_settings(ACTIVE_USERS=unusable)
    deliver_with_a_worker()
    assert set(statuses().values()) == {"sent"}


@each_error
def test_scope(people, push_settings, error):
    switch["error"] = error
    send_to_all(people)
    push_settings(SCOPE=raise_it)
    for _ in range(3):
        with pytest.raises(ImproperlyConfigured, match="SCOPE"):
            deliver_due()
    assert set(statuses().values()) == {"pending"}
    push_settings(SCOPE="")
    deliver_with_a_worker()
    assert set(statuses().values()) == {"sent"}


class TouchyObserver(Observer):
    """Raises whatever it is told."""

    def on_chunk(self, report):
        raise switch["error"]


@each_error
def test_observers(people, push_settings, error):
    switch["error"] = error
    push_settings(OBSERVERS=["tests.test_bulkheads.TouchyObserver"])
    send_to_all(people)
    deliver_with_a_worker()
    assert set(statuses().values()) == {"sent"}


class TouchyTransport(Transport):
    """Raises for the culprit's row: before its request, or when all have started."""

    def send(self, requests):
        names = dict(get_notification_model().objects.values_list("pk", "user__username"))
        started = list(requests) if switch["is_late"] else requests
        for request in started:
            if names[request.id] == "culprit":
                raise switch["error"]
            yield PushResponse(id=request.id, status=201)


@each_error
@pytest.mark.parametrize("is_late", [False, True], ids=["one in flight", "several in flight"])
def test_transports(people, push_settings, error, is_late):
    switch.update(error=error, is_late=is_late)
    send_to_all(people)
    push_settings(TRANSPORT=f"{__name__}.TouchyTransport", CHUNK_SIZE=3)
    if isinstance(error, ImproperlyConfigured):  # a transport that cannot be used sends nothing, and fails nothing
        with pytest.raises(ImproperlyConfigured):
            deliver_due()
        assert "failed" not in statuses().values()
        return
    deliver_with_a_worker()
    assert {**statuses(), "culprit": ""} == {"ada": "sent", "culprit": "", "grace": "sent"}


class TouchyBackend(TaskBackend):
    def wake(self, batches=()):
        raise switch["error"]


@each_error
def test_task_backends(people, push_settings, error):
    switch["error"] = error
    push_settings(TASK_BACKEND=f"{__name__}.TouchyBackend", CHUNK_SIZE=1)
    make_template("news", title_template="News")
    send_to_all(people)
    broadcast = services.broadcast("news")
    deliver_with_a_worker()
    broadcast.refresh_from_db()
    assert broadcast.queued == 3
    assert set(get_notification_model().objects.values_list("status", flat=True)) == {"sent"}


class TouchyRouter:
    def db_for_write(self, model, **hints):
        if "error" in switch:
            raise switch["error"]

    db_for_read = db_for_write


@each_error
def test_routers(people, settings, error):
    send_to_all(people)
    settings.DATABASE_ROUTERS = [f"{__name__}.TouchyRouter"]
    switch["error"] = error
    with suppress(ImproperlyConfigured):
        Worker(seconds=0.5).run_for_ever(0.05)
    del switch["error"]
    deliver_with_a_worker()
    assert set(statuses().values()) == {"sent"}


class TouchyCache(BaseCache):
    def __init__(self, _location, params):
        super().__init__(params)

    get = set = add = delete = incr = touch = clear = raise_it


@each_error
def test_cache(people, settings, push_settings, client, error):
    switch["error"] = error
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.TouchyCache", "LOCATION": type(error).__name__}}
    push_settings(TASK_BACKEND="django_webpush_kit.task_backends.ImmediateBackend", ALLOW_ANONYMOUS=True)
    try:
        send_to_all(people)
        deliver_with_a_worker()
        assert set(statuses().values()) == {"sent"}
        assert get_health()["status"] != "unhealthy"
        assert client.get(reverse("webpush_kit:config")).status_code == 200
    finally:
        switch["error"] = ValueError()
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        caches["default"].clear()


@each_error
def test_managers(people, push_settings, client, monkeypatch, error):
    switch["error"] = error
    push_settings(ACTIVE_USERS={"is_staff": False})
    send_to_all(people)
    make_template("news", title_template="News {{ recipient.first_name }}")
    broadcast = services.broadcast("news")
    monkeypatch.setattr(type(get_user_model().objects), "get_queryset", raise_it)
    deliver_with_a_worker()
    monkeypatch.undo()
    broadcast.refresh_from_db()
    assert (broadcast.queued, broadcast.failed) == (3, 0)
    assert set(get_notification_model().objects.values_list("status", flat=True)) == {"sent"}


class TouchyHandler(logging.Handler):
    """An error reporter that fails when it is needed."""

    def emit(self, record):
        raise switch["error"]


@each_error
def test_error_reporters(people, push_settings, error, capsys):
    switch["error"] = error

    def receiver(notification, **kwargs):
        if notification.user.username == "culprit":
            raise KeyError("name")

    signals.pre_send.connect(receiver, weak=False)
    signals.post_send.connect(raise_it)
    handler = TouchyHandler(level=logging.ERROR)
    logging.getLogger("django_webpush_kit").addHandler(handler)
    push_settings(AUDIENCES={"broken": raise_it, "everybody": everybody}, RECIPIENT_CONTEXT=raise_for_culprit)
    make_template("news", title_template="News {{ recipient.first_name }}")
    try:
        send_to_all(people)
        services.broadcast("news", "broken", urgency="high")
        services.broadcast("news", "everybody")
        deliver_with_a_worker()
    finally:
        logging.getLogger("django_webpush_kit").removeHandler(handler)
        signals.pre_send.disconnect(receiver)
        signals.post_send.disconnect(raise_it)
    rows = get_notification_model().objects
    assert rows.filter(status="sent", user__username__in=["ada", "grace"]).count() == 4
    assert rows.filter(status="failed").count() == 1
    assert "Traceback" in capsys.readouterr().err


def test_no_log_handler_is_called_without_containment():
    """Only commands may log directly: they end with the error of a log handler, and nothing waits for them."""
    methods = {"debug", "info", "warning", "error", "exception", "critical", "log"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.name != "error_reports.py" and not {"management", "testing"} & set(path.relative_to(ROOT).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in methods
        if isinstance(node.value, ast.Name) and "logg" in node.value.id
    ]
    assert found == []


@each_error
def test_commands(people, push_settings, error):
    switch["error"] = error
    send_to_all(people)
    push_settings(
        SCOPE=raise_it, AUDIENCES={"broken": f"{__name__}.raise_it"}, TASK_BACKEND=f"{__name__}.TouchyBackend"
    )
    with suppress(CommandError, SystemExit, ImproperlyConfigured):
        call_command("push_doctor", json=True, verbosity=0)
    with suppress(CommandError, SystemExit, ImproperlyConfigured):
        call_command("check", verbosity=0)
    push_settings(SCOPE="")
    deliver_with_a_worker()
    assert set(statuses().values()) == {"sent"}
