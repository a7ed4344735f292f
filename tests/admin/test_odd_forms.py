"""Whatever a form of the admin is sent, it answers with errors beside its fields, and writes nothing."""

from urllib.parse import urlencode

import pytest
from django.db import transaction

from django_webpush_kit.models import PushBroadcast, get_template_model
from tests.admin.crawler import Page
from tests.admin.test_admin import url_of
from tests.factories import make_template

pytestmark = pytest.mark.django_db

TEXTS = ["\x00", "a\udfffb", "😀" * 300, "9" * 5000, "[" * 5000, '{"\\ud800": "\\u0000"}', "{{ x"]


def templates():
    return url_of(get_template_model(), "change", make_template("news", title_template="No. {{ number }}").pk)


def composer():
    make_template("news", title_template="No. {{ number }}")
    return url_of(PushBroadcast, "add")


def written():
    return [list(model.objects.order_by("pk").values()) for model in (get_template_model(), PushBroadcast)]


@pytest.fixture(params=[templates, composer])
def form(request, admin_client):
    """The URL of a page and the fields of its form, which can be sent as they are."""
    url = request.param()
    page = Page(admin_client.get(url).content.decode())
    fields = dict(max(page.forms, key=lambda form: len(form.fields)).fields)
    if request.param is composer:
        fields |= {"type": "news", "audience": "all", "content": "template", "context": '{"number": 1}'}
    return url, fields


def send(client, url, fields):
    """Send a form; lone surrogates become bytes that are no UTF-8."""
    body = urlencode(fields, errors="surrogatepass")
    return client.post(url, body.encode(), content_type="application/x-www-form-urlencoded")


@pytest.mark.thorough
def test_each_field_takes_or_refuses_each_text(admin_client, form):
    url, fields = form
    assert len(fields) > 15
    for name in fields:
        for text in TEXTS:
            before = written()
            with transaction.atomic():
                answer = send(admin_client, url, {**fields, name: text})
                assert answer.status_code in (200, 302), (name, text)
                if answer.status_code == 200:
                    assert written() == before, (name, text)
                    assert "question" in answer.context or answer.context["errors"], (name, text)
                transaction.set_rollback(True)


@pytest.mark.parametrize("path", ["", "preview"])
def test_an_empty_form_and_repeated_fields(admin_client, form, path):
    url, fields = form
    url = url.replace("/change/", "/preview/").replace("/add/", "/preview/") if path else url
    before = written()
    assert send(admin_client, url, {}).status_code == 200
    assert written() == before
    body = urlencode([*fields.items(), *((name, "x") for name in fields)])
    answer = admin_client.post(url, body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 200
    assert written() == before


def test_a_template_that_was_deleted_meanwhile_is_not_saved(admin_client, form):
    url, fields = form
    get_template_model().objects.all().delete()
    answer = send(admin_client, url, fields)
    assert answer.status_code in (200, 302)
    assert written() == [[], []]
