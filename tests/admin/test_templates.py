"""Editing notification templates in the admin."""

import json
import re

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.forms import modelform_factory
from django.urls import reverse

from django_webpush_kit.admin import template_page
from django_webpush_kit.admin.message_preview import preview_message
from django_webpush_kit.admin.template_form import OPTION_FIELDS, TemplateForm
from django_webpush_kit.admin.templates import NotificationTemplateAdmin
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_template_model
from tests.admin.test_admin import messages_of, permit
from tests.factories import make_notification, make_template

pytestmark = pytest.mark.django_db


def page_of(row=None):
    model = get_template_model()
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{'change' if row else 'add'}"
    return reverse(name, args=[row.pk] if row else [])


@pytest.fixture
def editable(request):
    """The admin page of templates, which hosts register themselves for a model of their own."""
    if not admin.site.is_registered(get_template_model()):
        pytest.skip("the swapped model is not registered")


@pytest.fixture
def submit(admin_client, editable):
    def submit(**values):
        fields = dict.fromkeys(("language", "body_template", "url_template", "icon_template"), "")
        fields |= {"type": "news", "title_template": "News", "vibrate_pattern": "[]", "actions": "[]", "options": "{}"}
        return admin_client.post(page_of(), {**fields, **values})

    return submit


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("field", ["vibrate_pattern", "actions", "options"])
@pytest.mark.parametrize(
    "value",
    [
        DEEP,
        "9" * 5000,
        "{",
        "NaN",
        '{"ttl": NaN}',
        '{"data": {"a": Infinity}}',
        '["\\u0000"]',
        '{"data": {"\\ud800": 1}}',
    ],
)
def test_json_that_cannot_be_stored_is_an_error_at_its_field(submit, field, value):
    response = submit(**{field: value})
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]
    assert not get_template_model().objects.exists()


@pytest.mark.parametrize(
    "field", ["type", "language", "title_template", "body_template", "url_template", "icon_template"]
)
@pytest.mark.parametrize("character", ["\x00", "\ud800"])
def test_text_that_cannot_be_stored_is_an_error_at_its_field(editable, rf, admin_user, field, character):
    row = get_template_model()(type="news", title_template="News")
    request = rf.post("/")
    request.user = admin_user
    form = admin.site._registry[type(row)].get_form(request)
    values = {"type": "news", "title_template": "News", "vibrate_pattern": "[]", "actions": "[]", "options": "{}"}
    filled = form({**values, field: f"a{character}"}, instance=row)
    assert not filled.is_valid()
    assert field in filled.errors


@pytest.mark.parametrize("value", ["javascript:alert(1)", "//evil.example", "http://example.com/"])
def test_a_link_that_browsers_cannot_open_is_an_error_at_its_field(submit, value):
    response = submit(
        url_template=value, icon_template=value, actions=json.dumps([{"action": "a", "title": "A", "url": value}])
    )
    assert sorted(response.context["adminform"].form.errors) == ["actions", "icon_template", "url_template"]


def test_unusable_json_in_a_saved_template_is_an_error_and_changes_nothing(admin_client, editable):
    row = make_template("a", options={"ttl": 60})
    values = dict.fromkeys(("language", "body_template", "url_template", "icon_template"), "")
    values |= {"type": "a", "title_template": "News", "vibrate_pattern": "[]", "actions": DEEP, "options": DEEP}
    response = admin_client.post(page_of(row), values)
    assert sorted(response.context["adminform"].form.errors) == ["actions", "options"]
    assert not response.context["adminform"].form.fields["options"].has_changed({"ttl": 60}, '{"ttl": 60}')
    assert response.context["adminform"].form.fields["options"].has_changed({"ttl": 60}, DEEP)
    row.refresh_from_db()
    assert row.options == {"ttl": 60}


@pytest.mark.thorough
def test_variables_and_other_languages_are_shown(admin_client, editable):
    row = make_template("a", body_template="{{ where|default:'' }} {{ recipient.name }}")
    other = make_template("a", language="de", title_template="{{ nummer }}", actions=[{"action": "a", "title": "A"}])
    make_template("a", language="fr", title_template="{% debug %}")
    page = words(admin_client.get(page_of(row)))
    assert (
        "<code>number</code>, <code>where</code> (optional), <code>recipient.name</code> (from the recipient)" in page
    )
    assert f'<a href="{page_of(other)}">de</a>' in page
    assert (
        "lacks <code>number</code> <code>recipient.name</code> <code>where</code> also uses <code>nummer</code>" in page
    )
    assert "1 button" in page
    assert "<span>{% debug %}</span>" in page
    assert admin_client.get(page_of(other)).status_code == 200
    assert admin_client.get(page_of()).status_code == 200


def words(response):
    """The page with every run of white space as one space."""
    return re.sub(r"\s+", " ", response.content.decode())


@pytest.mark.thorough
def test_missing_languages_of_the_project_are_offered(admin_client, editable, settings):
    settings.LANGUAGES = [("en-us", "English"), ("de", "German"), ("pt-br", "Portuguese"), ("fr", "French")]
    row = make_template("a", language="de")
    url = page_of() + "?type=a&amp;language=%s"
    page = words(admin_client.get(page_of(row)))
    for code in ("en-us", "pt-br", "fr"):
        assert f'<a href="{url % code}">Missing: add it</a>' in page
    make_template("a")
    make_template("a", language="pt_BR")
    page = words(admin_client.get(page_of(row)))
    assert page.count("Missing: add it") == 1
    form = admin_client.get(page_of() + "?type=a&language=fr").context["adminform"].form
    assert (form["type"].value(), form["language"].value()) == ("a", "fr")
    assert "Missing" not in words(admin_client.get(page_of()))


@pytest.mark.urls("tests.urls_without_api")
def test_without_an_admin_page_names_are_shown_without_links():
    row = make_template("a")
    make_template("a", language="de")
    panel = template_page.panel_of(row, {})
    assert [(one.language, one.url) for one in panel["translations"]] == [("default language", ""), ("de", "")]
    assert template_page.uses_of(row)["notifications_url"] == ""
    assert template_page.panel_of(type(row)(type="a", title_template="{% if %}"), {})["variables"] == []
    site = NotificationTemplateAdmin(get_template_model(), admin.AdminSite("other"))
    assert site._preview_url(row) == ""


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases store no such text")
def test_a_stored_row_with_invalid_text_can_be_opened_and_corrected(admin_client, editable):
    row = make_template("a", actions=[{"action": "a", "title": "\ud800", "icon": "{{ \ud801 }}"}])
    page = admin_client.get(page_of(row))
    assert page.status_code == 200
    assert "\\ud800" in page.content.decode()


def filled_in(**values):
    """What the page sends: buttons as rows, options as fields."""
    fields = dict.fromkeys(("language", "body_template", "url_template", "icon_template", "vibrate_pattern"), "")
    fields |= {f"option_{name}": "" for name in OPTION_FIELDS}
    fields |= {f"actions-{row}-{part}": "" for row in range(3) for part in ("title", "url", "action", "icon")}
    return {**fields, "type": "news", "title_template": "News", "options": "{}", "sample_context": "{}", **values}


@pytest.fixture
def save(admin_client, editable):
    def save(row=None, **values):
        response = admin_client.post(page_of(row), filled_in(**values))
        if response.status_code == 200:
            return response.context["adminform"].form.errors
        return get_template_model().objects.get()

    return save


class TestFields:
    """Buttons, vibration and options without JSON."""

    def test_buttons_are_rows(self, save, admin_client):
        buttons = {
            "actions-0-title": "Track {{ number }}",
            "actions-0-url": "/orders/{{ number }}/",
            "actions-2-title": "追跡",
            "actions-2-icon": "/static/a.png",
            "actions-1-action": " later ",
            "actions-1-title": "Später ",
        }
        row = save(**buttons)
        assert row.actions == [
            {"title": "Track {{ number }}", "url": "/orders/{{ number }}/", "action": "track-number"},
            {"title": "Später", "action": "later"},
            {"title": "追跡", "icon": "/static/a.png", "action": "action-3"},
        ]
        page = admin_client.get(page_of(row)).content.decode()
        assert (
            'name="actions-1-title" id="id_actions-1-title" value="Später" placeholder="Title" aria-label="Title 2"'
            in page
        )
        assert 'name="actions-3-title"' in page, "there is room for one more"
        assert 'name="actions-4-title"' not in page
        assert save(row, **{**buttons, "actions-0-title": "", "actions-0-url": ""}).actions[0]["action"] == "later"
        assert save(row).actions == []

    def test_a_button_without_a_title_is_an_error_at_its_field(self, save):
        assert save(**{"actions-1-url": "/x/"}) == {"actions": ["Button 1: enter a title."]}

    def test_buttons_can_be_entered_as_json(self, save, admin_client):
        row = save(actions='[{"action": "a", "title": "A"}]')
        assert row.actions == [{"action": "a", "title": "A"}]
        page = admin_client.get(page_of(row) + "?raw=1").content.decode()
        assert '<textarea name="actions"' in page
        assert "Buttons as fields" in page
        assert save(row, actions="").actions == []

    @pytest.mark.parametrize("actions", [7, [7], [{"action": "a", "titel": "A"}], [{"action": "a", "title": 7}]])
    def test_stored_buttons_with_other_keys_are_shown_as_json(self, admin_client, editable, actions):
        row = make_template("a", actions=actions)
        assert '<textarea name="actions"' in admin_client.get(page_of(row)).content.decode()

    @pytest.mark.parametrize(
        ("typed", "stored"),
        [("100, 50 100", [100, 50, 100]), ("", []), ("[1, 2]", [1, 2]), (" 7 ", [7]), ("[]", []), ("5,", [5])],
    )
    def test_vibration_is_entered_as_numbers(self, save, admin_client, typed, stored):
        row = save(vibrate_pattern=typed)
        assert row.vibrate_pattern == stored
        value = admin_client.get(page_of(row)).context["adminform"].form["vibrate_pattern"].value()
        assert value == ", ".join(map(str, stored))

    @pytest.mark.parametrize("typed", ["fast", "1; 2", "[true]", "-1", "99999", "1 2 3 x", "\u0661"])
    def test_an_invalid_vibration_is_an_error(self, save, typed):
        assert list(save(vibrate_pattern=typed)) == ["vibrate_pattern"]

    def test_options_are_fields(self, save, admin_client):
        given = {"ttl": "60", "urgency": "low", "renotify": "false", "critical": "true", "image": "/a.png", "tag": "t"}
        row = save(**{f"option_{name}": value for name, value in given.items()}, options='{"data": {"a": 1}}')
        stored = {
            "ttl": 60,
            "urgency": "low",
            "renotify": False,
            "critical": True,
            "image": "/a.png",
            "tag": "t",
            "data": {"a": 1},
        }
        assert row.options == stored
        form = admin_client.get(page_of(row)).context["adminform"].form
        shown = {name: str(form[f"option_{name}"].value()) for name in given}
        assert shown == given
        assert json.loads(form["options"].value()) == {"data": {"a": 1}}
        assert save(row).options == {}

    def test_options_entered_as_json_are_kept(self, save, submit):
        row = save(options='{"ttl": 60}')
        assert row.options == {"ttl": 60}
        assert save(row, option_ttl="60", options='{"ttl": 60}').options == {"ttl": 60}
        assert list(save(row, option_ttl="70", options='{"ttl": 60}')) == ["option_ttl"]
        assert save(row, option_ttl="70", options="").options == {"ttl": 70}

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("ttl", "-1"),
            ("ttl", "x"),
            ("ttl", "99999999"),
            ("urgency", "very"),
            ("image", "javascript:alert(1)"),
            ("topic", "a b"),
            ("tag", "x" * 201),
            ("max_retries", "1000"),
        ],
    )
    def test_an_invalid_option_is_an_error_at_its_field(self, save, option, value):
        assert list(save(**{f"option_{option}": value})) == [f"option_{option}"]

    def test_malformed_stored_options_can_be_corrected(self, admin_client, save, editable):
        row = make_template("news", options={"ttl": "soon", "urgency": "low"})
        form = admin_client.get(page_of(row)).context["adminform"].form
        assert json.loads(form["options"].value()) == {"ttl": "soon"}
        assert form["option_urgency"].value() == "low"
        type(row).objects.filter(pk=row.pk).update(options=[7])
        assert admin_client.get(page_of(row)).status_code == 200
        assert save(row, option_urgency="low").options == {"urgency": "low"}


class TestPreview:
    """The panel that follows what is typed."""

    def panel(self, client, row=None, **values):
        response = client.post(
            page_of(row).replace("add/", "").replace("change/", "") + "preview/", filled_in(**values)
        )
        assert response.status_code == 200
        return words(response)

    def test_it_shows_unsaved_input_and_saves_nothing(self, admin_client, editable, django_assert_max_num_queries):
        row = make_template("news", title_template="Old")
        with django_assert_max_num_queries(12):
            page = self.panel(
                admin_client,
                row,
                title_template="Order {{ number }}",
                body_template="<b>",
                url_template="/orders/{{ number }}/",
                sample_context='{"number": 12}',
                **{"actions-0-title": "Track"},
            )
        assert page.count("<strong>Order 12</strong>") == 8, "four systems, collapsed and expanded"
        assert (page.count(">Collapsed</small>"), page.count(">Expanded</small>")) == (4, 4)
        assert "&lt;b&gt;" in page
        assert "<code>/orders/12/</code>" in page
        assert page.count(">Track</span>") == 3, "iOS shows no buttons"
        assert "iOS shows neither buttons nor images." in page
        assert re.search(r"\b[0-9,]+ of 3,?000 bytes", page)
        row.refresh_from_db()
        assert row.title_template == "Old"

    def test_a_variable_used_as_a_link_gets_a_sample_link(self, admin_client, editable):
        page = self.panel(admin_client, url_template="{{ url }}", icon_template="{{ icon|lower }}?")
        assert "errorlist" not in page
        assert "webpush-kit-lint" not in page

    def test_a_new_template_has_a_preview_too(self, admin_client, editable):
        assert "<strong>Order [number]</strong>" in self.panel(admin_client, title_template="Order {{ number }}")

    @pytest.mark.parametrize(
        ("values", "problem"),
        [
            ({"title_template": "{% debug %}"}, "Invalid block tag"),
            ({"title_template": ""}, "Title: This field is required."),
            ({"title_template": "{{ a|add:1 }}"}, "add"),
            ({"body_template": "x" * 4000}, "above the budget of 3000"),
            ({"sample_context": "{"}, "Enter a valid JSON"),
            ({"sample_context": "[" * 50_000}, "Enter a valid JSON"),
            ({"sample_context": '{"a": NaN}'}, "numbers must be finite"),
            ({"body_template": "{{ a.b|date:'Y' }}", "sample_context": '{"a": 7}'}, "a.b"),
            ({"option_ttl": "-1"}, "Time to live"),
            ({"type": "\x00"}, "Null characters are not allowed."),
        ],
    )
    def test_errors_are_shown(self, admin_client, editable, values, problem):
        assert problem in self.panel(admin_client, **values)

    def test_it_shows_lint_findings_and_images(self, admin_client, editable):
        make_template("news", language="de", title_template="Neues")
        values = {"language": "fr", "icon_template": "/static/icon.png", "option_image": "/static/sale.jpg"}
        page = self.panel(admin_client, **values)
        assert "The type has no template in the default language" not in page, "that is a problem of the first one"
        page = self.panel(admin_client, **{**values, "language": "da"})
        assert "The type has no template in the default language" in page
        assert page.count('src="/static/icon.png"') == 8
        assert page.count('src="/static/sale.jpg"') == 2
        page = self.panel(
            admin_client, icon_template="https://elsewhere.example/a.png", option_image="//evil.example/a"
        )
        assert "<img" not in page, "nothing is loaded from elsewhere"

    def test_unknown_objects_are_404(self, admin_client, editable):
        url = page_of().replace("add/", "")
        assert admin_client.post(f"{url}77/preview/", {}).status_code == 404
        assert admin_client.get(f"{url}preview/").status_code == 405

    def test_it_requires_a_permission(self, client, make_user, editable):
        row = make_template("news")
        user = make_user(is_staff=True)
        client.force_login(user)
        urls = [page_of().replace("add/", "preview/"), page_of(row).replace("change/", "preview/")]
        assert [client.post(url, {}).status_code for url in urls] == [403, 403]
        permit(user, type(row), "view")
        assert [client.post(url, {}).status_code for url in urls] == [403, 200]
        page = client.get(page_of(row)).content.decode()
        assert "Order [number] is on its way" in page
        assert "_send_to_me" not in page

    def test_the_button_shows_the_form_again(self, admin_client, editable):
        row = make_template("news", title_template="Old")
        page = words(admin_client.post(page_of(row), filled_in(title_template="New", _preview="x")))
        assert "<strong>New</strong>" in page
        assert 'value="New"' in page
        assert "errornote" not in page
        row.refresh_from_db()
        assert row.title_template == "Old"


class TestSample:
    """The variables of the preview."""

    def sample(self, client, row):
        return json.loads(client.get(page_of(row)).context["adminform"].form["sample_context"].value() or "{}")

    @pytest.mark.thorough
    def test_the_latest_broadcast_provides_values_else_placeholders_do(self, admin_client, editable):
        row = make_template("news", title_template="{{ number }} {{ who.name }} {{ until|date:'Y' }}")
        assert self.sample(admin_client, row)["number"] == "[number]"
        assert "Taken from the latest broadcast" not in admin_client.get(page_of(row)).content.decode()
        make_context = {"number": 1, "until": {"$type": "date", "value": "2030-05-01"}}
        for context in (make_context, {}, {"number": 7}, {**make_context, "number": 2}, {}):
            PushBroadcast.objects.create(type="news", context=context)
        assert "not stored. Taken from the latest broadcast" in admin_client.get(page_of(row)).content.decode()
        assert self.sample(admin_client, row) == {"number": 2, "who": {"name": "[who.name]"}, "until": "2030-05-01"}
        assert "<strong>2 [who.name] 2030</strong>" in words(admin_client.get(page_of(row)))
        PushBroadcast.objects.create(type="news", context=[7])
        assert self.sample(admin_client, row)["number"] == "[number]"

    @pytest.mark.thorough
    def test_values_of_broadcasts_require_the_permission_to_view_them(self, client, make_user, editable):
        row = make_template("news", title_template="{{ number }}")
        PushBroadcast.objects.create(type="news", context={"number": 5})
        user = make_user(is_staff=True)
        client.force_login(user)
        permit(user, type(row), "change")
        assert self.sample(client, row) == {"number": "[number]"}
        assert "news → all" not in client.get(page_of(row)).content.decode()
        permit(user, PushBroadcast, "view")
        client.force_login(user)
        assert self.sample(client, row) == {"number": 5}
        assert "news → all" in client.get(page_of(row)).content.decode()

    def test_a_url_with_characters_that_databases_refuse_shows_the_empty_form(self, admin_client, editable):
        assert admin_client.get(page_of() + "?type=%00a&language=%00").status_code == 200

    def test_a_broken_template_has_no_sample(self, admin_client, editable):
        assert self.sample(admin_client, make_template("news", title_template="{% debug %}")) == {}

    def test_they_are_neither_stored_nor_logged(self, save, admin_client):
        row = save(sample_context='{"a": 1}', body_template="old")
        save(row, sample_context='{"a": 2}', body_template="new")
        assert LogEntry.objects.order_by("-pk")[0].get_change_message() == "Changed Body."
        page = admin_client.get(page_of(row)).content.decode()
        assert "Changed Body." in page


class TestSendToMyself:
    """The button that sends what is typed to the staff member's own browsers."""

    def send(self, client, row=None, **values):
        return messages_of(client.post(page_of(row), filled_in(_send_to_me="x", **values)))

    def test_unsaved_input_is_sent_to_ones_own_browsers(self, admin_client, admin_user, make_subscription, editable):
        make_subscription()
        mine = make_subscription(admin_user, preferences={"categories": {"news": False}})
        row = make_template("news", title_template="Old")
        values = {"title_template": "Hi {{ recipient.username }} {{ n }}", "sample_context": '{"n": 3}'}
        options = {"option_ttl": "60", "option_topic": "news", "actions-0-title": "Go", "actions-0-url": "/go/"}
        assert self.send(admin_client, row, **values, **options) == ["Sent to 1 browser of yours."]
        sent = get_notification_model().objects.get()
        assert (sent.subscription, sent.title, sent.topic, sent.type) == (mine, "Hi admin 3", "", "news")
        assert (sent.options["ttl"], sent.options["actions"][0]["url"]) == (60, "/go/")
        row.refresh_from_db()
        assert row.title_template == "Old"

    def test_without_a_browser_it_says_so(self, admin_client, editable):
        assert self.send(admin_client)[0].startswith("You have no browser")

    def test_errors_are_shown_and_nothing_is_sent(
        self, admin_client, admin_user, make_subscription, editable, push_settings
    ):
        make_subscription(admin_user)
        assert self.send(admin_client, title_template="{% debug %}")[0].startswith("Nothing was sent.")
        assert "above the budget" in self.send(admin_client, body_template="x" * 4000)[0]
        push_settings(RECIPIENT_CONTEXT=lambda user: 1 / 0)
        assert self.send(admin_client) == ["ZeroDivisionError: division by zero"]
        assert not get_notification_model().objects.exists()

    def test_it_requires_the_change_permission(self, client, make_user, editable, make_subscription):
        row = make_template("news")
        user = make_user(is_staff=True)
        make_subscription(user)
        client.force_login(user)
        permit(user, type(row), "view")
        client.post(page_of(row), filled_in(_send_to_me="x"))
        assert not get_notification_model().objects.exists()


def test_a_new_template_has_rows_for_its_buttons(admin_client, editable):
    page = words(admin_client.get(page_of()))
    assert 'name="actions-0-title"' in page
    assert not re.search(r'(>|")null(<|")', page)


def test_templates_are_filtered_by_language(admin_client, editable):
    rows = [make_template("news", language=language) for language in ("", "de")]
    url = page_of().removesuffix("add/")
    page = words(admin_client.get(url))
    assert '<a href="?language=">default language</a>' in page
    for row in rows:
        assert list(admin_client.get(url, {"language": row.language}).context["cl"].result_list) == [row]
    assert not admin_client.get(url, {"language": "x\x00"}).context["cl"].result_list


def test_the_page_shows_where_the_template_is_used(admin_client, editable, subscription, monkeypatch):
    row = make_template("news")
    for _ in range(3):
        make_notification(subscription, template=row)
    url = admin_client.get(page_of(row)).context["uses"]["notifications_url"]
    assert len(admin_client.get(url).context["cl"].result_list) == 3
    assert ">3 notifications</a>" in words(admin_client.get(page_of(row)))
    monkeypatch.setattr(template_page, "COUNT_LIMIT", 2)
    assert re.search("More than <a [^>]*>2 notifications</a>", words(admin_client.get(page_of(row))))


def test_the_page_runs_few_queries(admin_client, editable, django_assert_max_num_queries):
    rows = [make_template("news", language=language) for language in ("", "de", "fr", "es", "it", "ja")]
    with django_assert_max_num_queries(14):
        assert admin_client.get(page_of(rows[0])).status_code == 200


def test_a_message_without_a_preview_says_why():
    template = get_template_model()(type="a", title_template="{{ a }}", language="tlh")
    message = preview_message(template, {"a": object()})
    assert "object" in message.problems[0]
    assert (message.text.title, message.language_name) == ("", "tlh")


def test_a_form_without_option_fields_keeps_the_options(editable):
    row = make_template("news", options={"ttl": 60})
    form_class = modelform_factory(type(row), form=TemplateForm, fields=["title_template"])
    form = form_class({"title_template": "x"}, instance=row)
    assert form.is_valid(), form.errors
    assert form.save().options == {"ttl": 60}


class TestTwoPeople:
    """Two people edit one template."""

    TAKEN = "Somebody changed this template after you had opened it."

    def opened(self, client, row):
        """What the form of a page posts."""
        page = client.get(page_of(row))
        version = page.context["adminform"].form["version"].value()
        assert f'name="version" value="{version}"' in page.content.decode()
        return {**filled_in(), "version": version}

    @pytest.mark.thorough
    def test_the_second_one_does_not_replace_what_the_first_one_wrote(self, admin_client, editable):
        row = make_template("news", title_template="Old")
        hers, his = self.opened(admin_client, row), self.opened(admin_client, row)
        assert admin_client.post(page_of(row), {**hers, "title_template": "Hers"}).status_code == 302
        answer = admin_client.post(page_of(row), {**his, "title_template": "His"})
        assert self.TAKEN in words(answer)
        assert 'value="His"' in answer.content.decode()
        row.refresh_from_db()
        assert row.title_template == "Hers"
        again = self.opened(admin_client, row)
        assert admin_client.post(page_of(row), {**again, "title_template": "His"}).status_code == 302

    def test_a_preview_and_a_copy_replace_nothing(self, admin_client, editable):
        row = make_template("news", title_template="Old")
        form = self.opened(admin_client, row)
        admin_client.post(page_of(row), {**form, "title_template": "Hers"})
        copy = {**form, "title_template": "His", "language": "de", "_saveasnew": "1"}
        assert admin_client.post(page_of(row), copy).status_code == 302
        assert get_template_model().objects.get(language="de").title_template == "His"

    def test_a_form_without_a_version_is_saved(self, admin_client, editable):
        """A project may have a template of its own for the page."""
        row = make_template("news")
        assert admin_client.post(page_of(row), {**filled_in(), "title_template": "New"}).status_code == 302
        entry = LogEntry.objects.latest("pk")
        assert "version" not in entry.change_message.lower()
