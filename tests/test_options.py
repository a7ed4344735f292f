"""The keyword options: what each accepts, and who wins."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import TextChoices
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit import option_checks as checks
from django_webpush_kit import services
from django_webpush_kit.exceptions import InvalidOption, WebPushKitError
from django_webpush_kit.models import get_notification_model, get_template_model
from django_webpush_kit.option_checks import storable
from django_webpush_kit.options import (
    DEFAULT_OPTIONS,
    DEFAULT_TTL,
    OPTIONS,
    ROW_OPTIONS,
    TEMPLATE_OPTIONS,
    BroadcastOptionsDict,
    Place,
    RowOptions,
    SendOptions,
    SendOptionsDict,
    declared_options,
    default_options,
    option,
    template_options,
)
from django_webpush_kit.protocol.message import Message, member
from django_webpush_kit.protocol.responses import URGENCIES
from tests.generated import GENERATED, options_table, payload_types

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


class Urgency(TextChoices):
    HIGH = "high", "High"


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("data", {"a": [1, {"b": None}], 2: "two"}, {"a": [1, {"b": None}], "2": "two"}),
        ("data", {"pair": (1, "\x00\ud800")}, {"pair": [1, "?"]}),
        ("data", {"n\x00": "a\x00"}, {"n": "a"}),
        ("url", "/orders/7?x=1#y", "/orders/7?x=1#y"),
        ("url", "https://example.com/ü", "https://example.com/ü"),
        ("url", lazystr("/lazy"), "/lazy"),
        ("icon", "/icon.png", "/icon.png"),
        ("badge", "/badge.png", "/badge.png"),
        ("image", "https://cdn.example.com/i.png", "https://cdn.example.com/i.png"),
        ("tag", "order-7", "order-7"),
        ("tag", "a\x00b\udfff", "ab?"),
        ("silent", True, True),
        ("require_interaction", False, False),
        ("renotify", True, True),
        ("vibrate", (100, 50), [100, 50]),
        ("app_badge", 0, 0),
        ("language", "de", "de"),
        ("dir", "rtl", "rtl"),
        ("timestamp", NOON, NOON),
        ("ttl", 0, 0),
        ("ttl", 0.2, 1),
        ("ttl", timedelta(minutes=5), 300),
        ("ttl", timedelta(days=30), 2_592_000),
        ("urgency", "very-low", "very-low"),
        ("urgency", Urgency.HIGH, "high"),
        ("topic", "order-7", "order-7"),
        ("topic", "score", "score"),
        ("critical", True, True),
        ("max_retries", 0, 0),
        ("retry_base", timedelta(seconds=2), 2.0),
        ("retry_cap", 60, 60.0),
        ("expires_at", NOON, NOON),
        ("scheduled_for", NOON, NOON),
        ("scheduled_local", datetime(2026, 11, 22, 9), datetime(2026, 11, 22, 9)),  # noqa: DTZ001  # a wall clock
        ("idempotency_key", "order:7", "order:7"),
        (
            "actions",
            [{"action": "a", "title": lazystr("A"), "icon": "", "url": "/a"}],
            [{"action": "a", "title": "A", "url": "/a"}],
        ),
    ],
)
def test_values_that_are_accepted(name, value, kept):
    found = getattr(SendOptions.parse({name: value}), name)
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data", "x", "data must be dict, not str"),
        ("data", {"a": object()}, "data must be plain JSON: Object of type object"),
        ("data", {"a": float("nan")}, "data must be plain JSON"),
        ("data", {(1, 2): 3}, "data must be plain JSON"),
        ("url", "javascript:alert(1)", "url: A URL must be a path"),
        ("url", "//evil.example", "url: A URL must be a path"),
        ("url", "/\\evil.example", "url: A URL must not contain"),
        ("url", "http://example.com", "url: A URL must be a path"),
        ("url", "/" + "x" * 2000, "url has 2001 characters"),
        ("icon", "data:image/png;base64,xx", "icon: A URL must be a path"),
        ("tag", 7, "tag must be str, not int"),
        ("tag", "x" * 201, "tag has 201 characters; at most 200 are allowed"),
        ("actions", {"action": "a"}, "actions must be a list of dicts, not dict"),
        ("actions", ["a"], r"actions\[0\] must be dict, not str"),
        ("actions", [{"action": "a"}], r"actions\[0\] must have the keys"),
        ("actions", [{"action": "a", "title": "A", "onclick": "x"}], r"actions\[0\] must have the keys"),
        ("actions", [{"action": "a", "title": "A"}, {"action": "b", "title": ""}], r"actions\[1\].title must not be"),
        ("actions", [{"action": "", "title": ""}], r"actions\[0\].action must not be empty"),
        ("actions", [{"action": "a", "title": "A", "url": "javascript:x"}], r"actions\[0\].url: A URL"),
        ("actions", [{"action": "a", "title": "x" * 101}], r"actions\[0\].title has 101 characters"),
        ("silent", 1, "silent must be bool, not int"),
        ("silent", "yes", "silent must be bool, not str"),
        ("vibrate", 200, "vibrate must be a list of at most 50"),
        ("vibrate", [1] * 51, "vibrate must be a list of at most 50"),
        ("vibrate", [10_001], r"vibrate\[0\] must be from 0 to 10000, not 10001"),
        ("app_badge", -1, "app_badge must be from 0"),
        ("app_badge", True, "app_badge must be int, not bool"),
        ("language", "x" * 36, "language has 36 characters"),
        ("dir", "up", "dir must be one of auto, ltr, rtl, not 'up'"),
        ("timestamp", 1_764_000_000, "timestamp must be datetime, not int"),
        ("timestamp", datetime(2026, 1, 1), "timestamp must be an aware datetime"),  # noqa: DTZ001  # naive on purpose
        ("ttl", -1, "ttl must be from 0 to 2592000 seconds"),
        ("ttl", "60", "ttl must be int or float, not str"),
        ("ttl", float("nan"), "ttl must be from 0"),
        ("ttl", timedelta(days=31), "ttl must be from 0"),
        ("urgency", "urgent", "urgency must be one of very-low, low, normal, high, not 'urgent'"),
        ("urgency", 3, "urgency must be one of"),
        ("topic", "a b", "topic must contain only letters"),
        ("topic", "ümlaut", "topic must contain only letters"),
        ("topic", "x" * 33, "topic has 33 characters"),
        ("max_retries", 101, "max_retries must be from 0 to 100"),
        ("max_retries", 1.5, "max_retries must be int, not float"),
        ("expires_at", datetime(2026, 1, 1), "expires_at must be an aware datetime"),  # noqa: DTZ001  # naive on purpose
        ("scheduled_for", "2026-01-01", "scheduled_for must be datetime, not str"),
        ("scheduled_for", datetime.max.replace(tzinfo=timezone.utc), "scheduled_for must be in the years from 1970"),
        ("scheduled_local", NOON, "scheduled_local must be a naive datetime"),
        ("scheduled_local", datetime(1, 1, 1), "scheduled_local must be in the years from 1970 to 8999, not 1"),  # noqa: DTZ001  # naive on purpose
        ("idempotency_key", "", "idempotency_key must not be empty"),
        ("idempotency_key", "x" * 201, "idempotency_key has 201 characters"),
    ],
)
def test_errors_name_the_option_and_the_accepted_values(name, value, message):
    with pytest.raises(InvalidOption, match=message) as refusal:
        SendOptions.parse({name: value})
    assert isinstance(refusal.value, WebPushKitError)
    assert isinstance(refusal.value, ValueError)


def test_data_that_contains_itself_is_refused():
    data = {}
    data["self"] = data
    with pytest.raises(InvalidOption, match="data must be plain JSON"):
        SendOptions.parse({"data": data})


def test_data_is_copied():
    data = {"list": [1]}
    kept = SendOptions.parse({"data": data}).data
    data["list"].append(2)
    assert kept == {"list": [1]}


def test_an_unknown_option_is_a_type_error_that_lists_the_known_ones():
    with pytest.raises(TypeError, match="unknown option 'titel'; the options are actions, app_badge"):
        SendOptions.parse({"titel": "x", "ttl": 1})


def test_options_that_exclude_each_other():
    local = datetime(2026, 1, 1)  # noqa: DTZ001  # a wall clock
    with pytest.raises(InvalidOption, match="cannot be combined"):
        SendOptions.parse({"scheduled_for": NOON, "scheduled_local": local})
    with pytest.raises(InvalidOption, match="expires_at must be later than scheduled_for"):
        SendOptions.parse({"scheduled_for": NOON, "expires_at": NOON})
    SendOptions.parse({"scheduled_for": NOON, "expires_at": NOON + timedelta(seconds=1)})


def test_none_means_not_given():
    assert SendOptions.parse(dict.fromkeys(OPTIONS)) == SendOptions()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.timedeltas(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=6,
)
good = {
    "ttl": st.integers(0, DEFAULT_TTL),
    "urgency": st.sampled_from(URGENCIES),
    "topic": st.text("abc-_", max_size=32),
    "url": st.sampled_from(["/", "/a", "https://example.com/"]),
    "silent": st.booleans(),
    "critical": st.booleans(),
    "max_retries": st.integers(0, 100),
    "app_badge": st.integers(0, 10),
    "data": st.dictionaries(st.text("ab"), st.integers()),
}
some_options = st.fixed_dictionaries({}, optional=good)


@pytest.mark.thorough
@given(st.sampled_from(sorted(OPTIONS)), anything)
def test_no_value_raises_anything_but_invalid_option(name, value):
    try:
        options = SendOptions.parse({name: value})
    except InvalidOption as error:
        message = str(error)
        assert message.startswith(name)  # most values are refused, not all
    else:
        json.dumps(options.to_json(), allow_nan=False)


@pytest.mark.thorough
@given(some_options, some_options, some_options)
def test_options_are_merged_by_precedence(explicit, of_template, defaults):
    merged = SendOptions.parse(explicit).over(SendOptions.parse(of_template)).over(SendOptions.parse(defaults))
    assert merged == SendOptions.parse({**defaults, **of_template, **explicit})


@given(some_options)
def test_options_without_a_column_are_stored_in_the_row(given_options):
    kept = SendOptions.parse(given_options).to_json()
    assert kept == {name: value for name, value in given_options.items() if name in ROW_OPTIONS}


@given(st.text())
def test_stored_text_is_encodable_and_has_no_nul(text):
    kept = storable(text)
    assert "\x00" not in kept
    kept.encode()
    if "\x00" not in text and not any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        assert kept == text


class TestDeclarations:
    def test_an_option_with_a_column_is_a_field_of_the_outbox(self):
        columns = {field.name for field in get_notification_model()._meta.get_fields()}
        assert {name for name, declared in OPTIONS.items() if declared.place is Place.COLUMN} <= columns
        assert set(ROW_OPTIONS) == {name for name, declared in OPTIONS.items() if declared.place is Place.ROW}

    def test_type_checkers_know_every_option(self):
        assert set(SendOptionsDict.__annotations__) == set(OPTIONS)
        assert set(BroadcastOptionsDict.__annotations__) == {*OPTIONS, "rate", "created_by"}

    @pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
    def test_generated_files_are_up_to_date(self, path):
        assert path.read_text() == GENERATED[path]()

    def test_a_new_option_needs_one_declaration(self, monkeypatch):
        """A new field of RowOptions is checked, stored, read back and documented without another edit."""

        @dataclass(frozen=True, slots=True, kw_only=True)
        class Extended(RowOptions):
            colour: str | None = option(checks.choice("red", "blue"), '`"red"`, `"blue"`', "Colour of the text.")

        declared = declared_options(Extended)
        assert Extended(colour="red", ttl=60).to_json() == {"ttl": 60, "colour": "red"}
        assert Extended.from_json({"colour": "red"}) == Extended(colour="red")
        with pytest.raises(InvalidOption, match="colour must be one of red, blue"):
            Extended.from_json({"colour": "green"})
        assert '| `colour` | `"red"`, `"blue"` | Colour of the text. |' in options_table(declared)

    def test_a_shown_option_needs_one_attribute_of_the_message(self):
        @dataclass(slots=True, kw_only=True)
        class Extended(Message):
            text_colour: str = member("textColour", "string")

        assert Extended(title="x", text_colour="red").notification() == {"title": "x", "textColour": "red"}
        assert "  textColour?: string;\n" in payload_types(Extended)


class TestStoredOptions:
    @given(some_options)
    def test_a_row_reads_back_what_was_stored(self, given_options):
        options = SendOptions.parse(given_options)
        stored = json.loads(json.dumps(options.to_json()))
        assert RowOptions.from_json(stored).to_json() == stored

    def test_a_timestamp_is_stored_as_text(self):
        options = SendOptions.parse({"timestamp": NOON})
        assert options.to_json() == {"timestamp": "2026-11-22T12:00:00+00:00"}
        assert RowOptions.from_json(options.to_json()) == RowOptions(timestamp=NOON)

    def test_unknown_names_and_null_are_ignored(self):
        assert RowOptions.from_json({"ttl": 60, "of_a_newer_version": 1, "url": None, "data": {}}) == RowOptions(ttl=60)

    @pytest.mark.parametrize(
        ("stored", "message"),
        [
            ([], "options must be a JSON object, not list"),
            ("x", "options must be a JSON object, not str"),
            (None, "options must be a JSON object, not NoneType"),
            ({"ttl": "soon"}, "ttl must be int or float, not str"),
            ({"ttl": 1e300}, "ttl must be from 0"),
            ({"urgency": 7}, "urgency must be one of"),
            ({"actions": [7]}, r"actions\[0\] must be dict, not int"),
            ({"retry_base": [1]}, "retry_base must be int or float, not list"),
            ({"timestamp": 1764000000}, "timestamp must be str, not int"),
            ({"timestamp": "yesterday"}, "timestamp must be an ISO 8601 date and time, not 'yesterday'"),
            ({"timestamp": "2026-11-22T12:00:00"}, "timestamp must be an aware datetime"),
        ],
    )
    def test_malformed_stored_options_raise_one_type_of_error(self, stored, message):
        with pytest.raises(InvalidOption, match=message):
            RowOptions.from_json(stored)

    @pytest.mark.thorough
    @given(st.dictionaries(st.sampled_from(sorted(ROW_OPTIONS)), anything) | anything)
    def test_no_stored_value_raises_anything_but_invalid_option(self, stored):
        try:
            RowOptions.from_json(stored)
        except InvalidOption:
            assert stored != {}

    def test_a_row_without_options_has_the_defaults(self):
        assert (RowOptions().ttl_seconds, RowOptions().urgency_header) == (DEFAULT_TTL, "normal")
        assert (RowOptions(ttl=0).ttl_seconds, RowOptions(urgency="low").urgency_header) == (0, "low")

    def test_defaults_come_from_the_settings(self, push_settings):
        push_settings(DEFAULTS={"ttl": timedelta(hours=1), "icon": "/icon.png"})
        assert default_options() == SendOptions(ttl=3600, icon="/icon.png")

    @pytest.mark.parametrize(
        ("defaults", "message"),
        [
            ({"tll": 1}, r'WEBPUSH_KIT\["DEFAULTS"\] does not accept \'tll\'. Accepted options: actions'),
            ({"idempotency_key": "x"}, "does not accept 'idempotency_key'"),
            ({"ttl": -1}, r'WEBPUSH_KIT\["DEFAULTS"\]: ttl must be from 0'),
        ],
    )
    def test_invalid_defaults_are_a_configuration_error(self, push_settings, defaults, message):
        push_settings(DEFAULTS=defaults)
        with pytest.raises(ImproperlyConfigured, match=message):
            default_options()

    def test_templates_and_defaults_hold_only_options_that_exist(self):
        assert TEMPLATE_OPTIONS < DEFAULT_OPTIONS < set(OPTIONS)


class TestTemplates:
    def test_a_template_sets_options_by_fields_and_by_json(self):
        template = get_template_model()(
            type="news",
            require_interaction=True,
            silent=False,
            vibrate_pattern=[100],
            options={"ttl": 60, "data": {"a": 1}, "topic": "news"},
        )
        assert template_options(template) == SendOptions(
            require_interaction=True, vibrate=[100], ttl=60, data={"a": 1}, topic="news"
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([], "options must be an object; accepted options: "),
            ({"url": "/x"}, "options cannot hold 'url'"),
            ({"scheduled_for": "now"}, "options cannot hold 'scheduled_for'"),
            ({"urgency": "urgent"}, "urgency must be one of"),
        ],
    )
    def test_unusable_options_of_a_template_are_refused(self, options, message):
        with pytest.raises(InvalidOption, match=message):
            template_options(get_template_model()(type="news", options=options))


class Unreadable(str):
    """A text that raises whatever is asked of it."""

    __str__ = __eq__ = __len__ = lambda *_arguments: 1 / 0
    __hash__ = str.__hash__


UNREADABLE = {
    "ttl": 10**400,
    "retry_base": 10**5000,
    "max_retries": 10**5000,
    "app_badge": -(10**5000),
    "dir": 10**5000,
    "tag": Unreadable("x"),
    "url": Unreadable("/"),
    "urgency": Unreadable("high"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_value_that_cannot_be_read_is_an_error_that_names_the_option(name):
    with pytest.raises(InvalidOption, match=f"^{name} "):
        SendOptions.parse({name: UNREADABLE[name]})


def test_a_stored_number_that_is_too_large_is_an_invalid_option():
    with pytest.raises(InvalidOption, match=r"^ttl "):
        RowOptions.from_json({"ttl": 10**400})


@pytest.mark.django_db
def test_the_creator_of_a_broadcast_must_be_a_user(subscription):
    get_template_model().objects.create(type="news", title_template="News")
    with pytest.raises(InvalidOption, match=r"^created_by must be a user or None, not int"):
        services.broadcast("news", created_by=7)
