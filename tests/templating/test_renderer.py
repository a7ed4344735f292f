"""From a template and a context to the texts of one message."""

import unicodedata
from datetime import date, datetime, time, timezone
from decimal import Decimal

import pytest
from django.utils.functional import lazystr

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.exceptions import TemplateNotFound, TemplateRenderError
from django_webpush_kit.models import get_template_model
from django_webpush_kit.templating.renderer import TemplateRenderer
from tests.factories import make_template
from tests.templating.texts import body, new_template, renderer

MEBIBYTE = 1024 * 1024


def test_text_is_not_html_escaped():
    assert body("{{ name }} & <b>{{ name }}</b>", name="O'Neill & Söhne <3") == (
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
        ("{{ missing|default:'none' }}", "none"),
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
    assert body(source, **context) == expected


def test_numbers_and_dates_follow_the_language_of_the_template(settings):
    settings.USE_THOUSAND_SEPARATOR = True
    source = "{{ day|date:'F' }} {{ price|floatformat:2 }}"
    context = {"day": date(2026, 5, 1), "price": Decimal("1.5")}
    both = TemplateRenderer(
        "news",
        context,
        templates=[new_template(body_template=source), new_template(language="de", body_template=source)],
    )
    assert both.render("de").body == "Mai 1,50"
    assert both.render("fr").body == "May 1.50"


def test_datetimes_are_shown_in_the_given_time_zone():
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
def test_a_context_with_datetimes_is_recognized(context, is_zoned):
    assert renderer(context).is_zoned is is_zoned


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


@pytest.mark.django_db
def test_a_template_may_name_the_recipient(user):
    one = renderer(title_template="Hello {{ recipient.first_name }}")
    assert one.is_personal("")
    assert one.names_recipient
    assert one.render("", recipient=user).title == "Hello Ada"


@pytest.mark.django_db
@pytest.mark.parametrize("recipient", [None, "user"])
def test_a_missing_value_of_a_recipient_is_an_error_that_names_the_setting(user, recipient):
    one = renderer(title_template="Hello {{ recipient.email }}")
    with pytest.raises(TemplateRenderError, match=r"'recipient.email' is missing.*RECIPIENT_CONTEXT"):
        one.render("", recipient=user if recipient else None)


def test_a_template_without_recipient_does_not_call_the_function():
    class Nobody:
        def __getattr__(self, name):
            raise AssertionError(name)

    one = renderer({"my_recipient": 1}, body_template="{{ my_recipient }} recipient")
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
def test_a_setting_provides_the_values_of_recipients(user, push_settings, function):
    push_settings(RECIPIENT_CONTEXT=function)
    one = renderer(title_template="{{ recipient.name }}: {{ recipient.points }}")
    assert one.render("", recipient=user).title == "Ms Lovelace: 3"


@pytest.mark.django_db
def test_values_of_recipients_must_be_plain(user, push_settings):
    push_settings(RECIPIENT_CONTEXT=recipient_with_object)
    with pytest.raises(TypeError, match=r"recipient\['user'\] is a User"):
        renderer(title_template="{{ recipient.user.password }}").render("", recipient=user)


class TestMissingVariables:
    @pytest.mark.parametrize(
        ("source", "name"),
        [
            ("{{ number }}", "number"),
            ("{{ number|upper }}", "number"),
            ("{{ number|length }}", "number"),
            ("{{ order.number }}", "order.number"),
            ("{{ given.number }}", "given.number"),
            ("{{ given.list.7 }}", "given.list.7"),
            ("{{ given.text.x }}", "given.text.x"),
            ("{{ given.text|default:number }}{{ given.empty|default:number }}", "number"),
            ("{{ given.text|cut:number }}", "number"),
            ("{% with x=number %}{{ x }}{% endwith %}", "number"),
            ("{% with x=number %}{% with y=x.a %}{{ y.b }}{% endwith %}{% endwith %}", "number.a.b"),
            ("{% with x=number|upper %}{% endwith %}", "number"),
            ("{% if given %}{{ number }}{% endif %}", "number"),
            ("{% if number %}{% else %}{{ number }}{% endif %}", "number"),
        ],
    )
    def test_a_missing_variable_is_an_error_that_names_it(self, source, name):
        words = rf"^Template news, body: The variable '{name}' is missing\. Pass it in the context\. .*{{{{ {name}\|"
        with pytest.raises(TemplateRenderError, match=words):
            body(source, given={"text": "x", "list": [1], "empty": ""})

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("{{ number|default:'none' }}", "none"),
            ("{{ number|default:'' }}", ""),
            ("{{ order.number|default_if_none:'none' }}", "none"),
            ("{{ number|floatformat:2|default:'free' }}", "free"),
            ("{{ number|yesno:'yes,no' }}", "no"),
            ("{% firstof number other 'none' %}", "none"),
            ("{% firstof number %}", ""),
            ("{% firstof number as found %}{{ found }}", ""),
            ("{% if number %}{{ number }}{% else %}none{% endif %}", "none"),
            ("{% if number.a|length > 2 or not number %}none{% endif %}", "none"),
            ("{% if number|upper %}some{% else %}none{% endif %}", "none"),
            ("{% if number|default:other %}some{% else %}none{% endif %}", "none"),
            ("{% if number is None %}none{% endif %}", "none"),
            ("{% with x=number %}{{ x|default:'none' }}{% endwith %}", "none"),
            ("{% with x=number %}{% endwith %}", ""),
            ("{% if False %}{{ number }}{% endif %}", ""),
            ("{{ given }}", "None"),
        ],
    )
    def test_a_template_may_handle_a_missing_variable(self, source, expected):
        assert body(source, given=None) == expected

    @pytest.mark.parametrize("field", ["title_template", "body_template", "url_template", "icon_template"])
    def test_every_text_is_checked_for_missing_variables(self, field):
        with pytest.raises(TemplateRenderError, match="'number' is missing"):
            renderer(**{field: "{{ number }}"}).render("")

    def test_texts_that_the_call_replaces_need_no_variables(self):
        row = new_template(
            url_template="{{ url }}", icon_template="{{ i }}", actions=[{"action": "a", "title": "{{ t }}"}]
        )
        one = TemplateRenderer("news", templates=[row], replaced=["url", "icon", "actions"])
        assert (one.render("").url, one.render("").actions) == ("", [])

    def test_a_setting_allows_missing_variables(self, push_settings, caplog):
        push_settings(MISSING_VARIABLES="empty")
        assert body("a{{ number }}b{{ x|cut:number }}", x="x") == "abx"
        assert not caplog.records

    def test_a_setting_warns_of_missing_variables_once(self, push_settings, caplog):
        push_settings(MISSING_VARIABLES="warn")
        one = renderer(body_template="{{ number }}{{ number }}{{ other }}")
        assert one.render("").body == one.render("").body == ""
        assert [record.getMessage() for record in caplog.records] == [
            "Template news: the variable 'number' is missing and was left empty.",
            "Template news: the variable 'other' is missing and was left empty.",
        ]


class TestCheck:
    """What a broadcast asks before it is stored."""

    def test_each_language_is_checked_for_missing_variables(self):
        rows = [new_template(), new_template(language="de", title_template="{{ number }}")]
        TemplateRenderer("news", {"number": 1}, templates=rows).check()
        with pytest.raises(TemplateRenderError, match=r"Template news \(de\), title: The variable 'number'"):
            TemplateRenderer("news", templates=rows).check()

    def test_missing_values_of_recipients_are_not_reported(self):
        renderer(body_template="{{ recipient.first_name|upper }} {{ recipient.points|floatformat:2 }}").check()
        with pytest.raises(TemplateRenderError, match="'number' is missing"):
            renderer(body_template="{{ recipient.first_name }}{{ number }}").check()

    def test_a_filter_that_raises_is_found(self):
        with pytest.raises(TemplateRenderError, match="floatformat"):
            renderer({"n": 1}, body_template="{{ n|floatformat:1000 }}").check()


NUMBERS = {"number": 4711, "lat": 52.5, "price": Decimal("1234.50"), "large": 1e16, "tiny": Decimal("1E-7")}
DATES = {
    "day": date(2026, 5, 1),
    "when": datetime(2026, 5, 1, 22, 30, tzinfo=timezone.utc),
    "clock": time(8, 5),
    "naive": datetime(2026, 5, 1, 8, 5),  # noqa: DTZ001  # a naive one
}


class TestLocalization:
    """Numbers and dates in texts and links."""

    @pytest.mark.parametrize("language", ["", "de", "fr", "sv", "pt-br", "ar", "de-ch", "hi", "fa"])
    @pytest.mark.parametrize("are_separators_german", [False, True])
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("/orders/{{ number }}/", "/orders/4711/"),
            ("/map?lat={{ lat }}&price={{ price }}", "/map?lat=52.5&price=1234.50"),
            ("/map?lat={{ lat|urlencode }}", "/map?lat=52.5"),
            ("/{{ large }}/{{ tiny }}", "/10000000000000000/0.0000001"),
            (
                "/{{ price|floatformat:1 }}/{{ price|floatformat:'2g' }}/{{ number|floatformat }}",
                "/1234.5/1234.50/4711",
            ),
            ("/{{ price|localize }}/{{ price|unlocalize }}", "/1234.50/1234.50"),
            ("/{{ number|stringformat:'06d' }}", "/004711"),
            ("/{% with n=price %}{{ n }}{% endwith %}/{% firstof none lat %}", "/1234.50/52.5"),
            ("/{% firstof lat as x %}{{ x }}/{{ none|default:lat }}", "/52.5/52.5"),
            ("/{% if number > 4000 %}{{ number }}{% endif %}", "/4711"),
            ("/{{ day }}/{{ day|date }}/{{ day|date:'DATE_FORMAT' }}", "/2026-05-01/2026-05-01/2026-05-01"),
            ("/{{ when }}/{{ clock }}/{{ naive }}", "/2026-05-01T22:30:00Z/08:05:00/2026-05-01T08:05:00"),
            ("/{{ when|date:'Y/m/d' }}/{{ day|date:'F-l' }}", "/2026/05/02/May-Friday"),
            ("/{{ clock|time }}/{{ clock|time:'TIME_FORMAT' }}/{{ clock|time:'H' }}", "/08:05:00/08:05:00/08"),
            ("/{{ number|date }}x", "/x"),
        ],
    )
    def test_links_are_never_localized(self, settings, source, expected, language, are_separators_german):
        settings.USE_THOUSAND_SEPARATOR = True
        if are_separators_german:
            settings.DECIMAL_SEPARATOR, settings.THOUSAND_SEPARATOR, settings.NUMBER_GROUPING = ",", ".", 3
        action = {"action": "open", "title": "x", "icon": source, "url": source}
        row = new_template(language=language, url_template=source, icon_template=source, actions=[action])
        one = TemplateRenderer("news", {**NUMBERS, **DATES}, templates=[row])
        rendered = one.render(language, time_zone="Europe/Berlin")
        assert rendered.url == rendered.icon == rendered.actions[0]["url"] == rendered.actions[0]["icon"] == expected

    @pytest.mark.parametrize(
        ("language", "expected"),
        [
            ("de", "4.711 1.234,5"),
            ("fr", "4 711 1 234,5"),
            ("", "4,711 1,234.5"),
        ],
    )
    def test_texts_are_localized(self, settings, language, expected):
        settings.USE_THOUSAND_SEPARATOR = True
        source = "{{ number }} {{ price }}"
        row = new_template(
            language=language,
            title_template=source,
            body_template=source,
            actions=[{"action": "a{{ number }}", "title": source}],
        )
        one = TemplateRenderer("news", {"number": 4711, "price": Decimal("1234.5")}, templates=[row]).render(language)
        assert unicodedata.normalize("NFKC", one.title) == unicodedata.normalize("NFKC", expected)
        assert one.title == one.body == one.actions[0]["title"]
        assert one.actions[0]["action"] == "a4711"
        assert body("{{ n|unlocalize }} {{ n|localize }} {{ n|stringformat:'d' }}", n=4711) == "4711 4,711 4711"

    @pytest.mark.parametrize(
        ("actions", "problem"),
        [
            (["open"], "actions: This must be a list of objects"),
            ([None], "actions: This must be a list of objects"),
            ({"action": "open"}, "actions: This must be a list of objects"),
            (7, "actions: This must be a list of objects"),
            ([{"action": "open", "title": 7}], r"actions\[0\].title: This must be text, not 7"),
            ([{"action": None}], r"actions\[0\].action: This must be text, not None"),
        ],
    )
    @pytest.mark.django_db
    def test_malformed_stored_buttons_affect_only_their_language(
        self, user, make_user, make_subscription, subscription, actions, problem
    ):
        make_template("news", title_template="News")
        german = make_template("news", language="de", title_template="Neues")
        get_template_model().objects.filter(pk=german.pk).update(actions=actions)
        reader = make_user()
        make_subscription(reader, language="de")
        with pytest.raises(TemplateRenderError, match=rf"Template news \(de\), {problem}"):
            services.send_templated("news", reader)
        result = services.send_templated("news", [user, reader])
        assert (result.queued, result.failed) == (1, 1)

    @pytest.mark.django_db(transaction=True)
    def test_malformed_stored_options_affect_only_their_language(
        self, user, make_user, make_subscription, subscription
    ):
        make_template("news", title_template="News", options={"urgency": "high"})
        broadcast = services.broadcast("news")
        make_subscription(make_user(), language="de")
        make_template("news", language="de", title_template="Neues", options={"urgency": "soon"})
        deliver_due()
        broadcast.refresh_from_db()
        assert (broadcast.status, broadcast.queued, broadcast.failed) == ("completed", 1, 1)
