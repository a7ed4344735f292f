"""Requests made up from the OpenAPI document, right and wrong: no 5xx, and nothing the document does not say.

`SCHEMATHESIS_CASES` sets how many; 10,000 by default.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.http import HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from django_webpush_kit import services
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.tokens import sign_notification
from tests.api.conftest import BASE, new_body
from tests.factories import make_notification
from tests.urls import urlpatterns

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "10000"))

SHARES = {"subscribe": 30, "events": 20, "preferences": 10, "unsubscribe": 10, "test": 8, "open": 8, "subscriptions": 8}
"""In percent, by the first part of the path; where there is nothing to make up, few requests are enough."""

PROMISES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)

CSRF = "c" * 32


def test_made_up_requests_get_the_answers_that_the_document_promises(user: Any, login: Any, push_settings: Any) -> None:
    push_settings(RATE_LIMITS={}, ALLOW_ANONYMOUS=True)
    client = login(user)
    known = [new_body() for _ in range(3)]
    subscribe_again(user, known)
    notification = make_notification(get_subscription_model().objects.first(), options={"url": "/"})
    asking = Asking({"sessionid": client.session.session_key, "csrftoken": CSRF}, known, notification)
    document = served_document()
    with one_connection():
        for operation in operations(document):
            subscribe_again(user, known)
            asking.make_both(operation, max(CASES * SHARES.get(operation.path.split("/")[1], 1) // 200, 1))
    assert asking.answers.total() >= CASES * 0.95, "the document leaves too little to make up"
    asked = {label for label, _status in asking.answers}
    assert {label for label, status in asking.answers if status in (200, 302)} == asked, "all get past the first look"


def promises(document: Any, **of_health: Any) -> None:
    """Change what the document says of `GET health`'s healthy answer."""
    document["paths"]["/health"]["get"]["responses"]["200"] |= of_health


@pytest.mark.parametrize(
    ("failure", "change"),
    [
        ("UndefinedStatusCode", lambda document: document["paths"]["/health"]["get"]["responses"].pop("200")),
        ("UndefinedContentType", lambda document: promises(document, content={"text/plain": {"schema": {}}})),
        ("MissingHeaders", lambda document: promises(document, headers={"X-Age": {"required": True, "schema": {}}})),
        ("JsonSchemaError", lambda document: document["components"]["schemas"]["Health"]["required"].append("weather")),
        (
            "AcceptedNegativeData",
            lambda document: document["paths"]["/health"]["get"].update(
                parameters=[{"name": "days", "in": "query", "required": True, "schema": {"type": "integer"}}]
            ),
        ),
    ],
)
def test_a_wrong_document_is_detected(failure: str, change: Any) -> None:
    document = served_document()
    assert failures_of_health(document) == set()
    change(document)
    assert failure in failures_of_health(document)


@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        ("ServerError", lambda: 1 / 0),
        ("UndefinedStatusCode", lambda: JsonResponse({"success": True}, status=202)),
        ("UndefinedContentType", lambda: HttpResponse("<p>healthy</p>")),
        ("JsonSchemaError", lambda: JsonResponse({"status": "so-so"})),
    ],
)
def test_a_view_that_violates_the_document_is_detected(settings: Any, failure: str, answer: Any) -> None:
    document = served_document()
    view = path(f"{BASE}health".removeprefix("/"), lambda request: answer())
    settings.ROOT_URLCONF = (view, *urlpatterns)
    assert failure in failures_of_health(document)


def failures_of_health(document: Any) -> set[str]:
    """Make up requests for health, check the answers, and name what is found."""
    from schemathesis.core.failures import FailureGroup

    asking = Asking({}, [], None)
    try:
        with one_connection():
            for operation in operations(document):
                if operation.path == "/health":
                    asking.make_both(operation, 5)
    except FailureGroup as group:
        return {type(error).__name__ for error in group.exceptions}
    assert asking.answers
    return set()


def served_document() -> Any:
    return json.loads(Client().get(f"{BASE}openapi.json").content)


def operations(document: Any) -> Iterator[Any]:
    """The operations of an OpenAPI document, to be asked of this site through WSGI."""
    import schemathesis

    refusals = ["400", "401", "403", "404", "413", "415"]  # 413: what is wrong may also be too large
    config = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": refusals}}})
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = get_wsgi_application()
    for result in schema.get_all_operations():
        yield result.ok()


class Asking:
    """Makes requests up, as a signed-in browser and as a stranger, and counts the answers."""

    def __init__(self, cookies: dict[str, str], known: list[dict[str, Any]], notification: Any) -> None:
        self.cookies = cookies
        self.known = known
        self.token = "" if notification is None else sign_notification(notification)
        self.answers: Counter[tuple[str, int]] = Counter()

    def make_both(self, operation: Any, cases: int) -> None:
        """Requests that the document allows, and where it can be left, ones that it does not."""
        from schemathesis import GenerationMode

        self.make(operation, GenerationMode.POSITIVE, cases)
        if operation.body or operation.query or operation.path_parameters:
            self.make(operation, GenerationMode.NEGATIVE, cases)

    def make(self, operation: Any, mode: Any, cases: int) -> None:
        from schemathesis import GenerationMode, checks

        checks.load_all_checks()
        names = (*PROMISES, "negative_data_rejection") if mode is GenerationMode.NEGATIVE else PROMISES
        promised = [checks.CHECKS.get_one(name) for name in names]

        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy(generation_mode=mode),
            is_signed_in=st.booleans(),
            real=st.sampled_from([None, *self.known]),
        )
        def ask(case: Any, is_signed_in: bool, real: Any) -> None:
            if real is not None:
                make_real(case, real["subscription"], self.token)
            options = {"cookies": self.cookies, "headers": {"X-CSRFToken": CSRF}} if is_signed_in else {}
            response = case.call_and_validate(**options, checks=promised)
            self.answers[operation.label, response.status_code] += 1

        ask()


def subscribe_again(user: Any, known: list[dict[str, Any]]) -> None:
    """Whatever has been made up: these are the user's, and active."""
    get_subscription_model().objects.update(user=user)
    for body in known:
        services.subscribe(user=user, endpoint=body["subscription"]["endpoint"], **body["subscription"]["keys"])


def make_real(case: Any, subscription: dict[str, Any], token: str) -> None:
    """Put what is known into a made-up request, so that it gets past the first look.

    Only what is right is replaced: what makes a request wrong stays.
    """
    if isinstance(case.query, dict) and is_text(case.query.get("endpoint")):
        case.query["endpoint"] = subscription["endpoint"]
    if isinstance(case.query, dict) and is_text(case.query.get("id"), 64):
        case.query["id"] = str(get_subscription_model().objects.get(endpoint=subscription["endpoint"]).pk)
    if case.path_parameters:
        case.path_parameters["token"] = token
    if not isinstance(case.body, dict):
        return
    for holder in (case.body, case.body.get("subscription")):
        if isinstance(holder, dict) and is_text(holder.get("endpoint")):
            holder["endpoint"] = subscription["endpoint"]
        keys = holder.get("keys") if isinstance(holder, dict) else None
        if isinstance(keys, dict) and is_text(keys.get("p256dh")) and is_text(keys.get("auth")):
            keys |= subscription["keys"]
    for event in case.body["events"] if isinstance(case.body.get("events"), list) else []:
        if isinstance(event, dict) and is_text(event.get("token"), 300):
            event["token"] = token


def is_text(value: Any, most: int = 2048) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most


@contextmanager
def one_connection() -> Iterator[None]:
    """Requests through real WSGI share the test's connection, and its transaction: as Django's test client has it."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)
