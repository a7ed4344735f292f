"""Editing notification templates in the admin."""

import json

import pytest
from django.contrib import admin
from django.db import connection
from django.urls import reverse

from django_webpush_kit.admin.templates import NotificationTemplateAdmin
from django_webpush_kit.models import get_template_model
from tests.factories import make_template

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
def test_text_that_cannot_be_stored_is_an_error_at_its_field(editable, admin_client, field, character):
    row = get_template_model()(type="news", title_template="News")
    form = admin.site._registry[type(row)].get_form(None)
    values = {"type": "news", "title_template": "News", "vibrate_pattern": "[]", "actions": "[]", "options": "{}"}
    filled = form({**values, field: f"a{character}"}, instance=row)
    assert not filled.is_valid()
    assert field in filled.errors


@pytest.mark.parametrize("value", ["javascript:alert(1)", "//evil.example", "http://example.com/"])
def test_a_link_that_browsers_would_not_open_is_an_error_at_its_field(submit, value):
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


def test_variables_and_other_languages_are_shown(admin_client, editable):
    row = make_template("a", body_template="{{ where|default:'' }}")
    other = make_template("a", language="de", title_template="{{ nummer }}")
    make_template("a", language="fr", title_template="{% debug %}")
    page = admin_client.get(page_of(row)).content.decode()
    assert "number, where (optional)" in page
    assert f'<a href="{page_of(other)}">a (de)</a> (also uses nummer)' in page
    assert ">a (fr)</a><" in page.replace("\n", "")
    assert admin_client.get(page_of(other)).status_code == 200
    assert admin_client.get(page_of()).status_code == 200


@pytest.mark.urls("tests.urls_without_api")
def test_where_the_admin_has_no_such_page_names_are_shown_without_links():
    row = make_template("a")
    make_template("a", language="de")
    site = NotificationTemplateAdmin(get_template_model(), admin.AdminSite("other"))
    assert "a (de)" in site.languages(row)
    assert site.variables(type(row)(type="a", title_template="{% if %}")) == "-"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases store no such text")
def test_a_row_that_was_stored_with_such_text_can_be_opened_and_mended(admin_client, editable):
    row = make_template("a", actions=[{"action": "a", "title": "\ud800", "icon": "{{ \ud801 }}"}])
    page = admin_client.get(page_of(row))
    assert page.status_code == 200
    assert "\\ud800" in page.content.decode()
