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

from tests.api.conftest import BASE, new_body

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
    credentials = {"Cookie": f"sessionid={signed_in.session.session_key}; csrftoken={CSRF}", "X-CSRFToken": CSRF}
    made = 0
    with one_connection():
        for result in schema.get_all_operations():
            operation = result.ok()
            cases = CASES * SHARES.get(operation.path.split("/")[1], 1) // 100
            takes_input = operation.body or operation.query or operation.path_parameters
            for mode in schemathesis.GenerationMode if takes_input else [schemathesis.GenerationMode.POSITIVE]:
                made += ask(operation, mode, max(cases // 2, 1), credentials, known)
    assert made >= CASES * 0.95, "the document leaves too little to make up"


CSRF = "c" * 32


def ask(operation: Any, mode: Any, cases: int, credentials: dict[str, str], known: list[Any]) -> int:
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
        if mode is GenerationMode.POSITIVE and real is not None:
            make_real(case, real["subscription"])
        case.call_and_validate(headers=credentials if signed_in else {}, checks=promised)

    run()
    return made


def make_real(case: Any, subscription: dict[str, Any]) -> None:
    """Put an endpoint that is known into a made-up request, so that it gets past the first look."""
    if isinstance(case.body, dict) and "subscription" in case.body:
        case.body["subscription"] |= {"endpoint": subscription["endpoint"], "keys": subscription["keys"]}
    elif isinstance(case.body, dict) and "endpoint" in case.body:
        case.body["endpoint"] = subscription["endpoint"]
    elif case.query and "endpoint" in case.query:
        case.query["endpoint"] = subscription["endpoint"]
