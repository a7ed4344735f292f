"""Links in payloads, pages and answers lead to the API, however it is included and whichever thread writes them."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.db import connection, connections
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import NoReverseMatch, get_script_prefix, include, path, re_path, resolve, set_script_prefix

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import ApiLocation
from django_webpush_kit.outbox.links import api_base
from django_webpush_kit.transports import locmem

pytestmark = pytest.mark.django_db(transaction=True)

API = include("django_webpush_kit.urls")

LAYOUTS = {
    "plain": ((path("push/", API),), "/push/", {}),
    "root": ((path("", API),), "/", {}),
    "nested namespace": ((path("a/", include(([path("push/", API)], "outer"))),), "/a/push/", {}),
    "named instance": ((path("p/", include("django_webpush_kit.urls", namespace="alerts")),), "/p/", {}),
    "argument in the prefix": ((path("<slug:shop>/push/", API),), "/acme/push/", {}),
    "group in the prefix": ((re_path(r"^(\w+)/push/", API),), "/acme/push/", {}),
    "language": (tuple(i18n_patterns(path("push/", API))), "/de/push/", {}),
    "script name": ((path("push/", API),), "/app/push/", {"SCRIPT_NAME": "/app"}),
    "script name and language": (tuple(i18n_patterns(path("push/", API))), "/app/de/push/", {"SCRIPT_NAME": "/app"}),
    "letters": ((path("größe/push/", API),), "/gr%C3%B6%C3%9Fe/push/", {}),
}


@pytest.fixture(autouse=True)
def _languages(settings):
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]


@pytest.fixture(autouse=True)
def _script_prefix():
    before = get_script_prefix()
    yield
    set_script_prefix(before)


def in_a_thread(function):
    """As in a worker that serves no requests: another thread has the script name of none."""

    def run():
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(run).result()


def payload_of(subscription):
    services.send(subscription, "Hello", url="/orders/7")
    in_a_thread(deliver_due)
    return json.loads(locmem.sent[-1].payload)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_links_of_workers_lead_to_the_api(layout, client, subscription, settings):
    patterns, base, environ = LAYOUTS[layout]
    settings.ROOT_URLCONF = patterns
    config = client.get(f"{base}config".removeprefix(environ.get("SCRIPT_NAME", "")), **environ)
    assert (config.status_code, config.json()["urls"]["events"]) == (200, f"{base}events")
    payload = payload_of(subscription)
    assert payload["events"] == f"{base}events"
    path_info = payload["events"].removeprefix(environ.get("SCRIPT_NAME", ""))
    report = {"events": [{"token": payload["token"], "action": "delivered"}]}
    assert client.post(path_info, report, "application/json", **environ).json()["recorded"] == 1


@pytest.mark.parametrize("layout", ["plain", "nested namespace", "named instance", "script name", "language"])
def test_before_any_request_links_are_reversed(layout, subscription, settings):
    patterns, base, environ = LAYOUTS[layout]
    settings.ROOT_URLCONF = patterns
    settings.FORCE_SCRIPT_NAME = environ.get("SCRIPT_NAME")
    settings.LANGUAGE_CODE, settings.LANGUAGES = "de-at", [("de", "German"), ("en", "English")]
    assert payload_of(subscription)["events"] == f"{base}events"


def test_the_location_is_written_only_if_the_former_one_is_invalid(client, settings):
    settings.ROOT_URLCONF = tuple(i18n_patterns(path("push/", API)))
    client.get("/de/push/config")
    first = ApiLocation.objects.get()
    for language in ("en", "fr", "de"):
        client.get(f"/{language}/push/config")
    assert (ApiLocation.objects.get().path, ApiLocation.objects.get().changed_at) == ("/de/push/", first.changed_at)
    settings.ROOT_URLCONF = (path("moved/", API),)
    client.get("/moved/config")
    assert api_base() == "/moved/"
    client.get("/moved/config", SCRIPT_NAME="/app")
    assert api_base() == "/app/moved/"
    settings.ROOT_URLCONF = (path("größe/", API),)
    client.get("/größe/config")
    first = ApiLocation.objects.get()
    client.get("/größe/config")
    assert (first.path, ApiLocation.objects.get().changed_at) == ("/gr%C3%B6%C3%9Fe/", first.changed_at)


def test_browser_reports_do_not_change_the_location(client, subscription):
    payload = payload_of(subscription)
    client.post(payload["events"], {"events": [{"token": payload["token"], "action": "delivered"}]}, "application/json")
    assert not ApiLocation.objects.exists()


def test_no_path_can_lead_to_another_host(client, settings):
    settings.ROOT_URLCONF = (re_path(r"^(?P<anything>.*)push/", API),)
    response = client.get("/push/config", PATH_INFO="//evil.example/push/config")
    assert response.status_code == 200
    assert "evil" not in response.text
    assert not ApiLocation.objects.exists()


def alias_middleware(get_response):
    """Serve the API below another path, as a project does that moves its URLs."""

    def middleware(request):
        if request.path_info == "/settings-of-push":
            request.path_info = "/push/config"
        return get_response(request)

    return middleware


def test_a_path_that_a_middleware_has_rewritten_is_not_remembered(client, settings):
    settings.ROOT_URLCONF = (path("push/", API),)
    settings.MIDDLEWARE = [f"{__name__}.alias_middleware", *settings.MIDDLEWARE]
    assert client.get("/settings-of-push").json()["urls"]["events"] == "/push/events"
    assert not ApiLocation.objects.exists()


def test_a_default_language_that_the_site_does_not_list_has_links(subscription, settings):
    settings.LANGUAGE_CODE, settings.LANGUAGES = "fr", [("de", "German"), ("en", "English")]
    assert payload_of(subscription)["events"] == "/api/v1/push/events"


def test_the_host_header_is_not_trusted(client, settings, subscription):
    settings.ALLOWED_HOSTS = ["*"]
    client.get("/api/v1/push/config", headers={"host": "evil.example"})
    assert payload_of(subscription)["events"] == "/api/v1/push/events"


@pytest.mark.parametrize(
    ("base_url", "api_path", "base"),
    [
        ("", "/outside/push", "/outside/push/"),
        ("https://shop.example", "/outside/push/", "https://shop.example/outside/push/"),
        ("https://shop.example", "https://api.example/push", "https://api.example/push/"),
    ],
)
def test_settings_take_precedence(client, push_settings, subscription, base_url, api_path, base):
    client.get("/api/v1/push/config")
    push_settings(BASE_URL=base_url, API_PATH=api_path)
    assert payload_of(subscription)["events"] == f"{base}events"
    assert client.get("/api/v1/push/config").json()["urls"]["test"] == f"{base}test"
    assert f'content="{base}"' in head(RequestFactory().get("/"))


def head(request):
    return Template("{% load webpush_kit %}{% webpush_kit_head %}").render(Context({"request": request}))


def page(url):
    request = RequestFactory().get(url)
    request.resolver_match = resolve(url)
    return request


@pytest.mark.parametrize("layout", ["plain", "nested namespace", "named instance"])
def test_the_head_tag_finds_the_api(layout, settings):
    patterns, base, _environ = LAYOUTS[layout]
    settings.ROOT_URLCONF = (*patterns, path("page/", lambda request: None))
    assert f'content="{base}"' in head(page("/page/"))


def test_the_head_tag_takes_arguments_of_the_prefix_from_its_page(settings):
    settings.ROOT_URLCONF = (path("<slug:shop>/push/", API), path("<slug:shop>/page/", lambda request, shop: None))
    assert 'content="/acme/push/"' in head(page("/acme/page/"))


@pytest.mark.parametrize("patterns", [(), (path("<slug:shop>/push/", API),)], ids=["nowhere", "needs an argument"])
def test_without_an_api_the_head_tag_is_an_error(settings, patterns):
    settings.ROOT_URLCONF = patterns
    with pytest.raises(NoReverseMatch, match=r"Include django_webpush_kit\.urls"):
        head(RequestFactory().get("/"))


def test_a_location_that_cannot_be_stored_breaks_no_response(client, caplog):
    with connection.schema_editor() as editor:
        editor.delete_model(ApiLocation)
    try:
        assert client.get("/api/v1/push/config").status_code == 200
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(ApiLocation)
    assert "could not be stored" in caplog.text
