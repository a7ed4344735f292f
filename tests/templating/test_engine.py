"""What templates can say, and what they cannot do."""

import re
import tracemalloc
import uuid
from collections import OrderedDict
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from django.template import TemplateSyntaxError
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.engine import TAGS, compile_link, compile_text
from django_webpush_kit.templating.filters import FILTERS, MAX_OUTPUT
from tests.push_settings import override_push_settings
from tests.templating.texts import body, renderer

MEBIBYTE = 1024 * 1024


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
        "{% if x" + " and x" * 60 + " %}{% endif %}",
        "{% if x %}" * 25 + "{% endif %}" * 25,
        "{{ 1e400 }}",
        "{{ x|floatformat:1e400 }}",
        "{{ a..b }}",
        "{{ x|default:a..b }}",
        "x" * (MAX_OUTPUT + 1),
    ],
)
def test_forbidden_tags_and_filters_are_syntax_errors(source):
    with pytest.raises(TemplateSyntaxError):
        compile_text(source)
    with pytest.raises(TemplateRenderError, match="Template news, body_template: "):
        body(source)


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
        "{{ long }}" + "y" * 9000,
        "{{ day|date:long }}",
        "{{ long|upper }}" * 500,
        "{% with a=long|join:'zzzzzzzz' %}{{ a }}{% endwith %}",
        "{{ very_long }}" * 500,
        "{% firstof very_long %}" * 500,
        "{{ very_long|truncatewords:10000 }}",
        "{{ number|stringformat:'0200000000d' }}",
        "{{ number|stringformat:'.200000000f' }}",
        "{{ number|stringformat:'d%200000000d' }}",
        "{{ dict|stringformat:'(a)200000000s' }}",
        "{{ text|stringformat:long }}",
    ],
)
def test_huge_output_is_refused_before_memory_is_allocated(source):
    context = {
        "many": list(range(5000)),
        "long": LONG.strip(),
        "number": Decimal("1.5"),
        "day": date(2026, 1, 1),
        "dict": {"a": 1},
    }
    context |= {"very_long": "word " * 100_000, "text": "x"}
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


def test_templates_cannot_change_their_context():
    values = {"dict": OrderedDict(a=1), "list": [3, 1], "text": "x"}
    source = "{% firstof dict.clear dict.popitem list.clear list.sort %}{{ dict.a }}{{ list.0 }}"
    one = renderer(values, title_template="{{ dict.a }}", body_template=source)
    assert one.render("").body == "13"
    assert one.render("").title == "1"
    assert values == {"dict": OrderedDict(a=1), "list": [3, 1], "text": "x"}


@pytest.mark.parametrize(
    "name", ["text.upper", "price.exp", "day.today", "dict.items", "list.clear", "when.now", "key.hex.title"]
)
def test_methods_cannot_be_called(name):
    values = {
        "text": "x",
        "price": Decimal(2),
        "day": date(2026, 1, 1),
        "dict": {"a": 1},
        "list": [1],
        "when": datetime(2026, 1, 1, tzinfo=timezone.utc),
        "key": uuid.UUID(int=7),
    }
    with pytest.raises(TemplateRenderError, match=f"'{name}' is missing"):
        body(f"{{{{ {name} }}}}", **values)


def test_attributes_that_are_values_can_be_read():
    assert body("{{ day.year }} {{ span.days }}", day=date(2026, 1, 1), span=timedelta(days=3)) == "2026 3"


def test_any_exception_of_a_filter_names_the_template_and_the_field():
    with pytest.raises(TemplateRenderError, match="Template news, title: the filter 'floatformat'"):
        renderer({"n": 1.5}, title_template="{{ n|floatformat:'1000' }}").render("")


@pytest.mark.parametrize("compiler", [compile_text, compile_link])
def test_the_engine_knows_only_the_listed_tags_and_filters(compiler):
    engine = compiler("x").engine
    tags = {name for library in engine.template_builtins for name in library.tags}
    filters = {name for library in engine.template_builtins for name in library.filters}
    assert tags == set(TAGS)
    assert filters == set(FILTERS)
    assert not engine.template_libraries
    assert not engine.template_loaders


def test_literal_braces_can_be_written():
    assert body("{{ '{{' }} {x} %} }}") == "{{ {x} %} }}"


@given(st.text(alphabet="{}%|'\" .:ifendwithx#0_\\\n", max_size=60))
def test_no_source_raises_anything_but_a_syntax_error(source):
    try:
        compiled = compile_text(source)
    except TemplateSyntaxError:
        return
    assert compiled.source == source


# whatever staff write and callers give

NAMES = ["text", "number", "price", "day", "when", "span", "clock", "list", "dict", "dict.a", "list.0", "none", "empty"]
UNKNOWN = ["missing", "text.missing", "1e300", "-7"]
LITERALS = ["'%'", "'2g'", "'-99'", "'Y-m-d'", "'a,b'", "'.999f'", "'DATE_FORMAT'", "9" * 50]

names = st.sampled_from([*NAMES, *UNKNOWN, *LITERALS])
known_filters = st.sampled_from(FILTERS)
filters = st.builds("|{}".format, st.sampled_from(FILTERS)) | st.builds(
    "|{}:{}".format, st.sampled_from(FILTERS), names
)
expressions = st.builds(lambda name, given: name + "".join(given), names, st.lists(filters, max_size=4))
sources = st.recursive(
    st.builds("{{{{ {} }}}}".format, expressions) | st.text("a {}%", max_size=4),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("{{% if {} > {} %}}{}{{% else %}}{}{{% endif %}}".format, expressions, expressions, inner, inner),
        st.builds("{{% if not {} %}}{}{{% elif {} %}}{{% endif %}}".format, expressions, inner, expressions),
        st.builds("{{% with text={} number={} %}}{}{{% endwith %}}".format, expressions, expressions, inner),
        st.builds("{{% firstof {} {} %}}{}".format, expressions, expressions, inner),
    ),
    max_leaves=6,
)
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
contexts = st.fixed_dictionaries(
    {
        "text": st.text(max_size=30) | st.just("long word " * 5000),
        "number": numbers,
        "price": st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal("1E+190")),
        "day": st.dates(),
        "when": st.datetimes(timezones=st.none() | st.timezones()),
        "span": st.timedeltas(),
        "clock": st.times(),
        "list": st.lists(st.integers(), max_size=3),
        "dict": st.dictionaries(st.just("a"), numbers),
        "none": st.none(),
        "empty": st.just(""),
    }
)


@pytest.mark.thorough
@given(sources, contexts, st.sampled_from(["de", "fr", "ar", "ja", ""]), st.sampled_from(["error", "empty"]))
def test_any_template_and_context_end_in_bounded_text_or_a_named_error(source, context, language, policy):
    with override_settings(USE_THOUSAND_SEPARATOR=True), override_push_settings(MISSING_VARIABLES=policy):
        one = renderer(context, language=language, body_template=source, url_template=source)
        try:
            rendered = one.render(language, time_zone="Asia/Kathmandu")
        except TemplateRenderError as error:
            problem = str(error)
            named = re.match(r"Template news( \(\w+\))?, (body|url)(_template)?: .", problem)
        else:
            problem = ""
            named = None
            assert len(rendered.body) <= MAX_OUTPUT
            assert len(rendered.url) <= MAX_OUTPUT
        assert bool(problem) == bool(named)
