"""The page about services: what it says of each function, its signature and its errors, is what the function does."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from uuid import uuid4

import pytest

from django_webpush_kit import exceptions, services
from django_webpush_kit.options import SendOptions
from django_webpush_kit.testing.fake_browser import new_keys
from tests.documented_names import names_in_table
from tests.factories import make_template

REFERENCE = Path(__file__).resolve().parent.parent / "docs/reference"
PAGE = (REFERENCE / "services.md").read_text()
EXCEPTIONS_PAGE = (REFERENCE / "exceptions.md").read_text()

FUNCTIONS = sorted(
    name
    for name, value in vars(services).items()
    if not name.startswith("_")
    and (inspect.isfunction(value) or value is services.PushNotificationService)
    and value.__module__ in (services.__name__, "django_webpush_kit.privacy", "django_webpush_kit.legacy_service")
)
ASYNC = {"asend", "asend_templated", "abroadcast"}

SECTIONS = {
    name: text
    for heading, text in re.findall(
        r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", PAGE.partition("\n## Functions\n")[2], re.MULTILINE | re.DOTALL
    )
    for name in heading.split(", ")
}
TITLE = "Shipped"


def signature_of(name):
    """A function's signature in one line, its annotations as they are written in the source."""
    function = getattr(services, name)
    if inspect.isclass(function):
        return f"{name}()"
    signature = inspect.signature(function)
    unquoted = signature.replace(
        parameters=[p.replace(annotation=Verbatim(p.annotation)) for p in signature.parameters.values()],
        return_annotation=Verbatim(signature.return_annotation),
    )
    return name + str(unquoted).replace("''", '""').replace("'", '"')


def one_line(signature):
    return re.sub(r"\s+", " ", re.sub(r",?\n\)", ")", re.sub(r"\(\n\s*", "(", signature)))


class Verbatim:
    """An annotation that is shown as it is written, without quotes."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def raised_by(name):
    """The exceptions in a function's table."""
    return set(re.findall(r"^\| `(\w+)` \|", SECTIONS[name], re.MULTILINE))


def fails_to_send(**broken):
    return lambda to: services.send(to, **{"title": TITLE, **broken})


def fails_to_send_templated(of="shipped", context=None, **broken):
    return lambda to: services.send_templated(of, to, context, **broken)


def fails_to_broadcast(of="shipped", context=None, **broken):
    return lambda to: services.broadcast(of, context=context, **broken)


def fails_to_subscribe(**broken):
    given = {"endpoint": "https://updates.push.services.mozilla.com/wpush/v2/other", **new_keys(), **broken}
    return lambda to: services.subscribe(**given)


MISTAKES = {
    "send": {
        "InvalidRecipient": lambda to: services.send("ada", TITLE),
        "InvalidOption": fails_to_send(ttl=-1),
        "PayloadTooLarge": fails_to_send(body="x" * 5000),
        "TypeError": fails_to_send(tll=60),
    },
    "send_templated": {
        "TemplateNotFound": fails_to_send_templated("unknown"),
        "TemplateRenderError": fails_to_send_templated("shipped"),
        "InvalidRecipient": lambda to: services.send_templated("shipped", "ada", {"number": 1}),
        "InvalidOption": fails_to_send_templated(context={"number": 1}, urgency="now"),
        "PayloadTooLarge": fails_to_send_templated(context={"number": "x" * 5000}),
        "TypeError": fails_to_send_templated(context={"number": object()}),
    },
    "broadcast": {
        "TemplateNotFound": fails_to_broadcast("unknown"),
        "TemplateRenderError": fails_to_broadcast("shipped"),
        "InvalidOption": fails_to_broadcast(context={"number": 1}, audience="nobody"),
        "PayloadTooLarge": fails_to_broadcast(context={"number": "x" * 5000}),
        "TypeError": fails_to_broadcast(context={"number": object()}),
    },
    "cancel": {
        "InvalidOption": lambda to: services.cancel("yesterday's"),
        "TypeError": lambda to: services.cancel(42),
    },
    "subscribe": {
        "InvalidSubscription": fails_to_subscribe(auth="x"),
        "KeyMismatch": lambda to: services.subscribe(endpoint=to.endpoint, **new_keys()),
    },
    "update_preferences": {
        "InvalidSubscription": lambda to: services.update_preferences(to, {"categories": 1}),
    },
}
"""For each function and each exception that its table names, a call that raises it."""

PAIRS = [(function, exception) for function, calls in MISTAKES.items() for exception in calls]


def test_every_function_has_its_section_and_its_line():
    assert sorted(SECTIONS) == FUNCTIONS
    assert names_in_table(PAGE.partition("\n## ")[0], "") == FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_those_of_the_code(name):
    blocks = re.search(r"```text\n(.*?)```", SECTIONS[name], re.DOTALL)[1]
    assert signature_of(name) in [one_line(signature) for signature in re.split(r"\n(?=\w)", blocks.strip())]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_table_of_errors_holds_what_is_known_to_be_raised(name):
    assert raised_by(name) == set(MISTAKES.get(name, {}))


@pytest.mark.django_db
@pytest.mark.parametrize(("function", "exception"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_a_function_raises_what_its_table_names(function, exception, subscription):
    make_template("shipped", title_template="Shipped", body_template="Number {{ number }}")
    expected = getattr(exceptions, exception, TypeError)
    with pytest.raises(expected) as caught:
        MISTAKES[function][exception](subscription)
    assert type(caught.value) is expected


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["pause_broadcast", "resume_broadcast"])
def test_a_broadcast_that_was_deleted_is_neither_paused_nor_resumed(name, subscription):
    make_template("shipped")
    broadcast = services.broadcast("shipped", context={"number": 1})
    type(broadcast).objects.all().delete()
    assert getattr(services, name)(broadcast) is False


@pytest.mark.django_db
def test_what_raises_nothing_raises_nothing(subscription):
    user = subscription.user
    type(subscription).objects.all().delete()
    services.unsubscribe(subscription)
    assert services.export_user(user)["subscriptions"] == []
    assert services.erase_user(user) == {"subscriptions": 0, "notifications": 0, "events": 0}
    assert services.cancel(uuid4()) == 0


def test_the_page_about_exceptions_says_the_same():
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ((?:`\w+`(?:, )?)+) \|", EXCEPTIONS_PAGE, re.MULTILINE)
    written = {(function, exception) for exception, cell in rows for function in re.findall(r"`(\w+)`", cell)}
    assert written == {pair for pair in PAIRS if pair[1] != "TypeError"}


def test_every_exception_is_listed():
    every = {name for name, value in vars(exceptions).items() if inspect.isclass(value)}
    table = EXCEPTIONS_PAGE.partition("\n\nEvery message")[0]
    assert names_in_table(table, "") == sorted(every)


def test_every_option_is_listed():
    assert names_in_table(PAGE, "Options") == sorted(option.name for option in fields(SendOptions))


def test_every_attribute_of_the_result_is_listed():
    attributes = [name for name in dir(services.SendResult) if not name.startswith("_")]
    assert names_in_table(PAGE, "SendResult") == attributes
