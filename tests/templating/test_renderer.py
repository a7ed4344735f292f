"""From a staff-edited template and a context to plain text."""

import tracemalloc
import uuid
from collections import OrderedDict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum

import pytest
from django.core.exceptions import ValidationError
from django.db.models import TextChoices
from django.template import Context, TemplateSyntaxError
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import TemplateNotFound, TemplateRenderError
from django_webpush_kit.models import get_template_model
from django_webpush_kit.templating.renderer import (
    FILTERS,
    MAX_OUTPUT,
    TAGS,
    TemplateRenderer,
    compile_text,
    fallback_languages,
    plain_context,
)
from tests.factories import make_template

MEBIBYTE = 1024 * 1024


def template(**fields):
    """A template row that is not in the database."""
    return get_template_model()(**{"type": "news", "title_template": "News", **fields})


def renderer(context=None, **fields):
    return TemplateRenderer("news", context, templates=[template(**fields)])


def text(source, **context):
    return renderer(context, body_template=source).render("").body


# text


def test_text_has_no_html_entities():
    assert text("{{ name }} & <b>{{ name }}</b>", name="O'Neill & Söhne <3") == (
        "O'Neill & Söhne <3 & <b>O'Neill & Söhne <3</b>"
    )


def test_every_text_of_a_template_is_rendered():
    rendered = renderer(
        {"number": 7},
        title_template=" Order {{ number }}\n",
        body_template="on its way",
        url_template="/orders/{{ number }}",
        icon_template="/icons/{{ number }}.png",
        actions=[{"action": "track", "title": "Track {{ number }}", "url": "/orders/{{ number }}/track"}],
    ).render("")
    assert rendered.title == "Order 7"
    assert rendered.body == "on its way"
    assert rendered.url == "/orders/7"
    assert rendered.icon == "/icons/7.png"
    assert rendered.actions == [{"action": "track", "title": "Track 7", "url": "/orders/7/track"}]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% if total > 2 %}many{% else %}few{% endif %}", "many"),
        ("{% with half=total|floatformat:1 %}{{ half }}{% endwith %}", "3.0"),
        ("{% firstof nothing names.0 %}", "Ada"),
        ("a{% comment %}b{% endcomment %}c{# d #}", "ac"),
        ("{{ names|join:', ' }}", "Ada, Grace"),
        ("{{ numbers|join:'+' }}", "1+2"),
        ("{{ word|join:'-' }}", "a-b"),
        ("{{ total|join:'-' }}", "3"),
        ("{{ word|upper|truncatechars:1 }}", "…"),
        ("{{ missing }}{{ missing|default:'none' }}", "none"),
        ("{{ nested.deep.1.key }}", "value"),
        ("{{ total }} item{{ total|pluralize }}", "3 items"),
        ("{{ day|date:'j F Y' }}", "22 November 2026"),
        ("{{ 3.14159|floatformat:99 }}", "3.14159" + "0" * 94),
        ("{{ 3.14159|floatformat:'-3' }}", "3.142"),
    ],
)
def test_the_language_of_templates(source, expected):
    context = {
        "total": 3,
        "names": ["Ada", "Grace"],
        "numbers": [1, 2],
        "word": "ab",
        "nested": {"deep": [0, {"key": "value"}]},
        "day": date(2026, 11, 22),
    }
    assert text(source, **context) == expected


def test_numbers_and_dates_follow_the_language_of_the_template(settings):
    settings.USE_THOUSAND_SEPARATOR = True
    source = "{{ day|date:'F' }} {{ price|floatformat:2 }}"
    context = {"day": date(2026, 5, 1), "price": Decimal("1.5")}
    both = TemplateRenderer(
        "news", context, templates=[template(body_template=source), template(language="de", body_template=source)]
    )
    assert both.render("de").body == "Mai 1,50"
    assert both.render("fr").body == "May 1.50"


def test_moments_are_shown_in_the_time_zone_asked_for():
    when = {"when": datetime(2026, 7, 1, 22, 30, tzinfo=timezone.utc)}
    one = renderer(when, body_template="{{ when|date:'j.n. H:i' }}")
    assert one.render("", time_zone="Europe/Berlin").body == "2.7. 00:30"
    assert one.render("", time_zone="America/New_York").body == "1.7. 18:30"
    assert one.render("").body == "1.7. 22:30"


@pytest.mark.parametrize(
    ("context", "is_zoned"),
    [
        ({"when": datetime(2026, 1, 1, tzinfo=timezone.utc)}, True),
        ({"a": [{"b": (1, datetime(2026, 1, 1, tzinfo=timezone.utc))}]}, True),
        ({"day": date(2026, 1, 1), "list": [1]}, False),
        ({}, False),
    ],
)
def test_a_context_with_moments_is_known_as_such(context, is_zoned):
    assert renderer(context).is_zoned is is_zoned


# languages


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("pt-BR", ["pt-br", "pt", ""]),
        ("zh_Hant_TW", ["zh-hant-tw", "zh-hant", "zh", ""]),
        ("de", ["de", ""]),
        ("", [""]),
    ],
)
def test_languages_fall_back_from_the_particular_to_the_default(language, expected):
    assert fallback_languages(language) == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [("pt-BR", "Oi"), ("pt-PT", "Olá"), ("pt", "Olá"), ("de", "Hello"), ("", "Hello"), ("zh-Hant", "Nihao")],
)
def test_the_nearest_language_is_taken(language, expected):
    rows = [
        template(title_template="Hello"),
        template(language="pt", title_template="Olá"),
        template(language="pt_BR", title_template="Oi"),
        template(language="zh-Hant", title_template="Nihao"),
    ]
    assert TemplateRenderer("news", templates=rows).render(language).title == expected


def test_a_language_without_a_default_to_fall_back_to_is_an_error_that_lists_what_exists():
    with pytest.raises(TemplateNotFound, match=r"'news' exists in \['de'\], but neither in 'fr' nor"):
        renderer(language="de").render("fr")


@pytest.mark.django_db
def test_a_type_without_a_template_is_an_error_that_names_it():
    make_template("other")
    with pytest.raises(TemplateNotFound, match="No notification template of type 'news' exists"):
        TemplateRenderer("news", templates=[])


@pytest.mark.django_db
def test_templates_come_from_the_database():
    make_template("news", title_template="Hello {{ name }}")
    assert (
        TemplateRenderer("news", {"name": "Ada"}, templates=get_template_model().objects.all()).render("").title
        == "Hello Ada"
    )


# recipients


@pytest.mark.django_db
def test_a_template_may_name_the_recipient(user):
    one = renderer(title_template="Hello {{ recipient.first_name }}", body_template="{{ recipient.email }}")
    assert one.is_personal("")
    assert one.names_recipient
    rendered = one.render("", recipient=user)
    assert (rendered.title, rendered.body) == ("Hello Ada", "")
    assert one.render("").title == "Hello"


def test_a_template_that_names_no_recipient_asks_nothing_about_one():
    class Nobody:
        def __getattr__(self, name):
            raise AssertionError(name)

    one = renderer(body_template="{{ my_recipient }}")
    assert not one.names_recipient
    assert one.render("", recipient=Nobody()).title == "News"


def test_a_recipient_named_in_an_action_alone_counts():
    action = {"action": "reply", "title": "Reply as {{ recipient.username }}"}
    assert renderer(actions=[action]).names_recipient


def recipient_with_points(user):
    return {"points": len(user.username), "name": lazystr("Ms " + user.last_name)}


def recipient_with_object(user):
    return {"user": user}


@pytest.mark.django_db
@pytest.mark.parametrize("function", [recipient_with_points, "tests.templating.test_renderer.recipient_with_points"])
def test_a_setting_says_what_templates_may_know_of_recipients(user, settings, function):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "RECIPIENT_CONTEXT": function}
    one = renderer(title_template="{{ recipient.name }}: {{ recipient.points }}")
    assert one.render("", recipient=user).title == "Ms Lovelace: 3"


@pytest.mark.django_db
def test_what_templates_know_of_recipients_must_be_plain_too(user, settings):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "RECIPIENT_CONTEXT": recipient_with_object}
    with pytest.raises(TypeError, match=r"context\['user'\] is a User"):
        renderer(title_template="{{ recipient.user.password }}").render("", recipient=user)


# plain values


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
def test_values_become_plain_ones(value, plain):
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
def test_anything_else_is_a_type_error_that_names_the_key(context, message):
    with pytest.raises(TypeError, match=message):
        plain_context(context)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.decimals()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=10,
)


def same(value):
    """A value with lists as tuples, comparable: NaN is not equal to itself."""
    if isinstance(value, dict):
        return {key: same(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(same, value))
    return repr(value)


@given(st.dictionaries(st.text(max_size=5), plain_values, max_size=4))
def test_plain_contexts_are_copied_as_they_are(values):
    copy = plain_context(values)
    assert same({key: dict_of(item) for key, item in copy.items()}) == same(values)


def dict_of(value):
    if hasattr(value, "items"):
        return {key: dict_of(item) for key, item in value.items()}
    return tuple(map(dict_of, value)) if isinstance(value, tuple) else value


@given(st.dictionaries(st.sampled_from("abc"), plain_values, max_size=3))
def test_no_plain_value_breaks_a_template(values):
    rendered = text("{{ a }}{{ b.c }}{{ c.0 }}", **values)
    assert isinstance(rendered, str)


# hostile templates


@pytest.mark.parametrize(
    "source",
    [
        "{% debug %}",
        "{% load static %}",
        "{% include 'admin/base.html' %}",
        "{% extends 'admin/base.html' %}",
        "{% url 'admin:index' %}",
        "{% for x in list %}{{ x }}{% endfor %}",
        "{% now 'Y' %}",
        "{% csrf_token %}",
        "{% cycle 'a' 'b' %}",
        "{% lorem 100000 %}",
        "{% autoescape on %}{% endautoescape %}",
        '{{ "a"|center:200000000 }}',
        '{{ "a"|ljust:200000000 }}',
        '{{ "a"|rjust:200000000 }}',
        "{{ list|pprint }}",
        "{{ text|safe }}",
        "{{ text|linebreaks }}",
        "{{ text|make_list }}",
        "{{ text|add:text }}",
        "{{ text|stringformat:'0200000000d' }}",
        "{{ text|wordwrap:1 }}",
        "{{ number|unknown }}",
        "{{ dict.__class__ }}",
        "{{ text._private }}",
        "{% if %}",
        "{% if x %}",
        "{% with %}{% endwith %}",
        "{{ }}",
        "{{ a b }}",
        "{{ text",
        "{{ text }",
        "{{\ntext }}",
        "Hello {% if text %}{% firstof text{% endif %}",
        "{% if " + "not " * 2000 + "x %}{% endif %}",
        "x" * (MAX_OUTPUT + 1),
    ],
)
def test_what_templates_may_not_do_is_a_syntax_error(source):
    with pytest.raises(TemplateSyntaxError):
        compile_text(source)
    with pytest.raises(TemplateRenderError, match="Template news, body_template: "):
        text(source)


LONG = "long " * 1900


@pytest.mark.parametrize(
    "source",
    [
        "{{ many|join:long }}",
        "{{ long|join:long }}",
        "{{ long|urlencode }}",
        "{{ number|floatformat:200000000 }}",
        "{{ number|floatformat:'-200000000' }}",
        "{{ number|floatformat:'200000000g' }}",
        "{{ long }}{{ long }}",
        "{{ day|date:long }}",
        "{{ long|upper }}" * 500,
        "{% with a=long|join:'zzzzzzzz' %}{{ a }}{% endwith %}",
    ],
)
def test_huge_output_is_refused_before_it_takes_memory(source):
    context = {"many": list(range(5000)), "long": LONG.strip(), "number": Decimal("1.5"), "day": date(2026, 1, 1)}
    if source.startswith("{{ day"):
        context["long"] = "l F " * 2000
    one = renderer(context, body_template=source)
    one.render  # noqa: B018  # looked up before measuring
    tracemalloc.start()
    with pytest.raises(TemplateRenderError, match="Template news, body"):
        one.render("")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * MEBIBYTE


def test_templates_cannot_change_what_they_were_given():
    values = {"dict": OrderedDict(a=1), "list": [3, 1], "text": "x"}
    source = "{{ dict.clear }}{{ dict.popitem }}{{ list.clear }}{{ list.sort }}{{ dict.a }}{{ list.0 }}"
    one = renderer(values, title_template="{{ dict.a }}", body_template=source)
    assert one.render("").body == "13"
    assert one.render("").title == "1"
    assert values == {"dict": OrderedDict(a=1), "list": [3, 1], "text": "x"}


def test_methods_of_the_values_subclasses_cannot_be_called():
    assert text("{{ price.delete }}{{ price }}", price=Price("2")) == "2"


def test_whatever_a_filter_raises_names_the_template_and_the_field():
    with pytest.raises(TemplateRenderError, match="Template news, title: the filter 'floatformat'"):
        renderer({"n": 1.5}, title_template="{{ n|floatformat:'1000' }}").render("")


def test_the_engine_knows_only_the_listed_tags_and_filters():
    engine = compile_text("x").engine
    tags = {name for library in engine.template_builtins for name in library.tags}
    filters = {name for library in engine.template_builtins for name in library.filters}
    assert tags == set(TAGS)
    assert filters == {*FILTERS, "join"}
    assert not engine.template_libraries
    assert not engine.template_loaders


def test_braces_can_still_be_written():
    assert compile_text("{{ '{{' }} {x} %} }}").render(Context()) == "{{ {x} %} }}"


@given(st.text(alphabet="{}%|'\" .:ifendwithx#0_\\\n", max_size=60))
def test_no_source_raises_anything_but_a_syntax_error(source):
    try:
        compiled = compile_text(source)
    except TemplateSyntaxError:
        return
    assert compiled.source == source


# validation in the admin


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"title_template": "{% if %}"}, "title_template"),
        ({"body_template": "{{ a b }}"}, "body_template"),
        ({"url_template": "{% url 'x' %}"}, "url_template"),
        ({"icon_template": "{{ x|nope }}"}, "icon_template"),
        ({"actions": {"action": "a"}}, "actions"),
        ({"actions": ["a"]}, "actions"),
        ({"actions": [{"action": "a"}]}, "actions"),
        ({"actions": [{"action": "a", "title": "A", "onclick": "x"}]}, "actions"),
        ({"actions": [{"action": "a", "title": 1}]}, "actions"),
        ({"actions": [{"action": "a", "title": "{% if %}"}]}, "actions"),
        ({"language": "../../etc"}, "language"),
        ({"options": []}, "options"),
        ({"options": {"url": "/x"}}, "options"),
        ({"options": {"ttl": -1}}, "options"),
        ({"vibrate_pattern": "buzz"}, "vibrate_pattern"),
    ],
)
def test_a_template_that_could_not_be_sent_is_refused_by_field(fields, wrong):
    with pytest.raises(ValidationError) as refusal:
        template(**fields).clean()
    assert list(refusal.value.message_dict) == [wrong]


@pytest.mark.parametrize("language", ["", "de", "pt-br", "zh-Hant-TW", "pt_BR"])
def test_a_good_template_is_accepted(language):
    template(
        language=language,
        title_template="{{ a }}",
        actions=[{"action": "a", "title": "A", "url": "/a/{{ b }}"}],
        options={"ttl": 60, "urgency": "high", "topic": "news"},
        vibrate_pattern=[100, 50],
    ).clean()
