"""Requests made up from the OpenAPI document, right and wrong: no 5xx, and nothing the document does not say.

`SCHEMATHESIS_CASES` sets how many; 10,000 by default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.tracking import sign_notification
from tests.api.conftest import BASE, new_body
from tests.factories import make_notification

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "10000"))

SHARES = {"subscribe": 30, "events": 20, "preferences": 10, "unsubscribe": 10, "test": 8, "open": 8}
"""In percent, by the first part of the path; where there is nothing to make up, few requests are enough."""


@contextmanager
def one_connection() -> Iterator[None]:
    """Requests through real WSGI share the test's connection, and its transaction: as Django's test client has it."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_made_up_requests_get_the_answers_that_the_document_promises(user: Any, login: Any, kit: Any) -> None:
    import schemathesis
    from django.core.wsgi import get_wsgi_application

    kit(RATE_LIMITS={}, ALLOW_ANONYMOUS=True, TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
    with one_connection():
        schema = schemathesis.openapi.from_wsgi(f"{BASE}openapi.json", get_wsgi_application())
    signed_in = login(user)
    known = [new_body() for _ in range(3)]
    for body in known:
        signed_in.subscribe(body)
    token = sign_notification(make_notification(get_subscription_model().objects.first(), options={"url": "/"}).pk)
    credentials = {"Cookie": f"sessionid={signed_in.session.session_key}; csrftoken={CSRF}", "X-CSRFToken": CSRF}
    made = 0
    with one_connection():
        for result in schema.get_all_operations():
            operation = result.ok()
            cases = CASES * SHARES.get(operation.path.split("/")[1], 1) // 100
            takes_input = operation.body or operation.query or operation.path_parameters
            for mode in schemathesis.GenerationMode if takes_input else [schemathesis.GenerationMode.POSITIVE]:
                made += ask(operation, mode, max(cases // 2, 1), credentials, known, token)
    assert made >= CASES * 0.95, "the document leaves too little to make up"


CSRF = "c" * 32


def ask(operation: Any, mode: Any, cases: int, credentials: dict[str, str], known: list[Any], token: str) -> int:
    """Make requests of one kind; returns how many."""
    from schemathesis import GenerationMode, checks

    promised = [
        checks.not_a_server_error,
        checks.load_all_checks() or checks.CHECKS.get_one("status_code_conformance"),
        *map(checks.CHECKS.get_one, ("content_type_conformance", "response_schema_conformance")),
        checks.CHECKS.get_one("response_headers_conformance"),
    ]
    if mode is GenerationMode.NEGATIVE:
        promised.append(checks.CHECKS.get_one("negative_data_rejection"))
    made = 0

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode), signed_in=st.booleans(), real=st.sampled_from([None, *known])
    )
    def run(case: Any, signed_in: bool, real: Any) -> None:
        nonlocal made
        made += 1
        if real is not None:
            make_real(case, real["subscription"], token)
        case.call_and_validate(headers=credentials if signed_in else {}, checks=promised)

    run()
    return made


def make_real(case: Any, subscription: dict[str, Any], token: str) -> None:
    """Put what is known into a made-up request, so that it gets past the first look.

    Only what is right is replaced: what makes a request wrong stays.
    """
    if isinstance(case.query, dict) and is_text(case.query.get("endpoint")):
        case.query["endpoint"] = subscription["endpoint"]
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
    for event in case.body.get("events") if isinstance(case.body.get("events"), list) else []:
        if isinstance(event, dict) and is_text(event.get("token"), 300):
            event["token"] = token


def is_text(value: Any, most: int = 2048) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most
