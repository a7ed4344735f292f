"""Which values a template may use."""

import uuid
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import TextChoices
from django.utils.functional import lazy, lazystr
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.context import plain_context, recipient_values
from tests.templating.texts import renderer

MEBIBYTE = 1024 * 1024


class Colour(TextChoices):
    RED = "red", "Red"


class Size(IntEnum):
    LARGE = 3


class Weight(Enum):
    HEAVY = Decimal("12.5")


class Price(Decimal):
    def delete(self):
        raise AssertionError("a template called a method")


class Moment(datetime):
    pass


class Day(date):
    pass


class Clock(time):
    pass


class Span(timedelta):
    pass


class Key(uuid.UUID):
    pass


class Ratio(float):
    pass


KEY = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("text", "text"),
        (True, True),
        (None, None),
        (lazystr("lazy"), "lazy"),
        (mark_safe("<b>"), "<b>"),
        (Colour.RED, "red"),
        (Size.LARGE, 3),
        (Weight.HEAVY, Decimal("12.5")),
        (Price("1.50"), Decimal("1.50")),
        (Ratio(0.5), 0.5),
        (Moment(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)),
        (Day(2026, 1, 2), date(2026, 1, 2)),
        (Clock(3, 4), time(3, 4)),
        (Span(days=1, seconds=2, microseconds=3), timedelta(days=1, seconds=2, microseconds=3)),
        (Key(int=7), KEY),
        ([1, [2]], (1, (2,))),
    ],
)
def test_values_are_converted_to_plain_types(value, plain):
    found = plain_context({"value": value})["value"]
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"order": object()}, r"context\['order'\] is a object"),
        ({"a": {"b": [1, {2}]}}, r"context\['a.b\[1\]'\] is a set"),
        ({"f": print}, r"context\['f'\] is a builtin_function_or_method"),
        ({"b": b"x"}, r"context\['b'\] is a bytes"),
        ({1: 2}, "context keys must be str, not int"),
        ({"a": {None: 1}}, "context keys must be str, not NoneType"),
        ([("a", 1)], "context must be a dict, not list"),
    ],
)
def test_other_values_are_a_type_error_that_names_the_key(context, message):
    with pytest.raises(TypeError, match=message):
        plain_context(context)


storable_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5)

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | storable_text
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(storable_text, values, max_size=3),
    max_leaves=10,
)


def same(value):
    """A value with lists as tuples, and 0.0 told from -0.0."""
    if isinstance(value, dict):
        return {key: same(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(same, value))
    return repr(value)


@pytest.mark.thorough
@given(st.dictionaries(storable_text, plain_values, max_size=4))
def test_plain_contexts_are_copied_unchanged(values):
    copy = plain_context(values)
    assert same({key: dict_of(item) for key, item in copy.items()}) == same(values)


def dict_of(value):
    if hasattr(value, "items"):
        return {key: dict_of(item) for key, item in value.items()}
    return tuple(map(dict_of, value)) if isinstance(value, tuple) else value


@pytest.mark.thorough
@given(st.fixed_dictionaries(dict.fromkeys("abc", plain_values)), st.sampled_from(["de", "fr", "ar", "en"]))
def test_no_plain_value_breaks_a_template(values, language):
    source = "{{ a }}{{ b.c|default:'' }}{% if c.0 == a %}{{ c }}{% endif %}"
    one = renderer(values, language=language, body_template=source, url_template="/{{ a|urlencode }}")
    with suppress(TemplateRenderError):  # some time zones cannot represent a date in the year 9999
        assert one.render(language).url.startswith("/")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("inf"), "is inf; numbers must be finite"),
        (float("-inf"), "is -inf; numbers must be finite"),
        (float("nan"), "is nan; numbers must be finite"),
        (Decimal("Infinity"), "is Infinity; numbers must be finite"),
        (Decimal("sNaN"), "is sNaN; numbers must be finite"),
        (Ratio("inf"), "is inf; numbers must be finite"),
        (Price("NaN"), "is NaN; numbers must be finite"),
        (Enum("Member", {"IT": float("inf")}).IT, "is inf; numbers must be finite"),
        (Decimal("1e999999"), "is a number of more than 200 digits"),
        (Decimal("1e-999999"), "is a number of more than 200 digits"),
        (10**4000, "is a number of more than 200 digits"),
        (-(10**4000), "is a number of more than 200 digits"),
    ],
)
def test_the_error_for_an_unusable_number_names_its_key(value, problem):
    with pytest.raises(TypeError, match=rf"context\['order.total\[1\]'\] {problem}") as refusal:
        plain_context({"order": {"total": [1, value]}})
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("value", [10**199, Decimal("1e100"), 1e308, -0.0, Decimal("0.1"), 2**64, True])
def test_large_numbers_can_be_shown(value):
    assert plain_context({"value": value})["value"] == value


def endless(kind):
    inner = [] if kind is list else {}
    inner.append(inner) if kind is list else inner.update(again=inner)
    return inner


@pytest.mark.parametrize("kind", [list, dict])
def test_the_error_for_a_value_that_contains_itself_names_its_key(kind):
    with pytest.raises(TypeError, match=r"context\['a.*nested more than 32 levels deep, or contains itself") as refusal:
        plain_context({"a": endless(kind)})
    assert len(str(refusal.value)) < 300


def test_the_nesting_depth_is_limited():
    deep = shallow = 1
    for level in range(1000):
        deep = {"k": deep}
        shallow = {"k": shallow} if level < 30 else shallow
    plain_context(shallow)
    with pytest.raises(TypeError, match="levels deep"):
        plain_context({"a": deep})


def test_shared_references_cannot_grow_exponentially():
    value = ["x"] * 10
    for _ in range(12):
        value = [value] * 10
    with pytest.raises(TypeError, match="holds more than 100000 values"):
        plain_context({"a": value})


@pytest.mark.parametrize(("given_text", "kept"), [("a\x00b", "ab"), ("a\ud800b", "a?b"), (lazystr("\x00"), "")])
def test_characters_that_databases_refuse_are_removed(given_text, kept):
    assert plain_context({"a": [given_text], str(given_text): 1}) == {"a": (kept,), kept: 1}


def explode():
    raise LookupError("no such thing")


class Broken(dict):
    def items(self):
        raise RuntimeError("gone")


class BrokenDay(date):
    @property
    def year(self):
        raise RuntimeError("gone")


@pytest.mark.parametrize("value", [lazy(explode, str)(), Broken(a=1), BrokenDay(2026, 1, 1)])
def test_the_error_for_a_value_that_raises_names_its_key(value):
    with pytest.raises(TypeError, match=r"context\['a\[0\]'\] could not be read \((LookupError|RuntimeError): "):
        plain_context({"a": [value]})


def test_a_recipient_context_that_cannot_be_imported_is_a_configuration_error(push_settings):
    push_settings(RECIPIENT_CONTEXT="tests.nowhere.recipient_context")
    with pytest.raises(ImproperlyConfigured, match="RECIPIENT_CONTEXT"):
        recipient_values(None)


@pytest.mark.parametrize("given_context", [(), "", 0])
def test_a_context_that_is_not_a_dict_is_refused_even_if_it_is_empty(given_context):
    with pytest.raises(TypeError, match="context must be a dict, not"):
        renderer(given_context)
