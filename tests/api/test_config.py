"""What pages, workers and monitors ask for: config, the service worker, the head tag, health, OpenAPI."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.template import Context, RequestContext, Template
from django.test import RequestFactory
from django.urls import URLPattern, include, path, reverse
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from django_webpush_kit import urls
from django_webpush_kit.api import forms, views
from django_webpush_kit.api.authentication import AuthenticationFailed
from django_webpush_kit.api.errors import STATUSES, ErrorCode
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.protocol.endpoints import MAX_ENDPOINT_BYTES
from django_webpush_kit.states import ActionType
from django_webpush_kit.templatetags.webpush_kit import TEXT_LANGUAGES
from tests.api.conftest import ApiClient

pytestmark = pytest.mark.django_db

urlpatterns = [path("v2/", include(([path("push/", include("django_webpush_kit.urls"))], "outer")))]


def refusing(request: HttpRequest) -> None:
    raise AuthenticationFailed("expired")


class TestConfig:
    def test_it_holds_what_a_page_needs_to_subscribe(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(NOTIFICATION_TYPES={"news": {"label": "News", "default": False}, "orders": {}})
        assert api.call("GET", "config").json() == {
            "success": True,
            "public_key": vapid_keyring().current.public_key,
            "types": {"news": {"label": "News", "default": False}, "orders": {"label": "orders", "default": True}},
            "urls": {
                "subscribe": "/api/v1/push/subscribe",
                "unsubscribe": "/api/v1/push/unsubscribe",
                "preferences": "/api/v1/push/preferences",
                "test": "/api/v1/push/test",
                "events": "/api/v1/push/events",
                "service_worker": "/api/v1/push/service-worker.js",
            },
            "service_worker_scope": "/",
            "declarative": False,
            "user": "",
        }

    @pytest.mark.parametrize(("given", "is_declarative"), [(None, True), (False, False)])
    def test_it_says_whether_messages_need_a_service_worker(
        self, api: ApiClient, push_settings: Any, given: bool | None, is_declarative: bool
    ) -> None:
        push_settings(BASE_URL="https://www.example.com", DECLARATIVE=given)
        assert api.call("GET", "config").json()["declarative"] is is_declarative

    def test_it_describes_the_types_in_the_language_of_the_request(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(
            NOTIFICATION_TYPES={"mail": {"label": gettext_lazy("Email"), "description": gettext_lazy("Password")}}
        )
        with translation.override("de"):
            answer = api.call("GET", "config")
        assert answer.json()["types"] == {
            "mail": {"label": "E-Mail-Adresse", "description": "Passwort", "default": True}
        }

    def test_it_marks_the_signed_in_user(self, api: ApiClient, login: Any, make_user: Any) -> None:
        users = [make_user(), make_user()]
        answers = [login(one).call("GET", "config") for one in users]
        assert [answer.json()["user"] for answer in answers] == [
            head(user=one).metas["webpush-kit-user"] for one in users
        ]
        assert len({answer.headers["ETag"] for answer in [*answers, api.call("GET", "config")]}) == 3
        assert {"Cookie", "Authorization"} <= set(answers[0].headers["Vary"].split(", "))

    def test_invalid_credentials_count_as_anonymous(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(AUTHENTICATORS=[f"{__name__}.refusing"])
        answer = api.call("GET", "config")
        assert (answer.status_code, answer.json()["user"]) == (200, "")

    def test_without_a_key_it_says_so(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(VAPID_PRIVATE_KEY="")
        assert api.call("GET", "config").json()["public_key"] == ""

    @pytest.mark.urls(__name__)
    def test_the_urls_follow_the_hosts_urlconf(self, api: ApiClient) -> None:
        answer = api.get("/v2/push/config").json()
        assert answer["urls"]["subscribe"] == "/v2/push/subscribe"
        assert api.get("/v2/push/openapi.json").json()["servers"] == [{"url": "/v2/push"}]

    def test_a_view_called_without_a_urlconf_assumes_the_plain_namespace(self) -> None:
        response = views.config(RequestFactory().get("/"))
        assert json.loads(response.content)["urls"]["test"] == "/api/v1/push/test"


class TestServiceWorker:
    def test_it_may_control_the_whole_site_and_knows_the_api(self, api: ApiClient) -> None:
        answer = api.call("GET", "service-worker.js")
        first, _, rest = answer.content.decode().partition("\n")
        assert answer.headers["Service-Worker-Allowed"] == "/"
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert answer.headers["Cache-Control"] == "no-cache"
        given = json.loads(re.search(r"\.\.\.(\{.*?\})", first).group(1))
        assert given == {"baseUrl": "/api/v1/push/", "publicKey": vapid_keyring().current.public_key}
        assert rest == views.WORKER.read_text()

    def test_it_is_served_without_a_key_too(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(VAPID_PRIVATE_KEY="", SERVICE_WORKER_SCOPE="/app/")
        answer = api.call("GET", "service-worker.js")
        assert b"publicKey" not in answer.content.partition(b"\n")[0]
        assert answer.headers["Service-Worker-Allowed"] == "/app/"


class Head(HTMLParser):
    """The metas by name, and the attributes of each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.metas: dict[str, str | None] = {}
        self.scripts: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag == "meta":
            self.metas[given["name"]] = given["content"]
        else:
            self.scripts.append(given)

    @property
    def sources(self) -> list[str | None]:
        return [script["src"] for script in self.scripts]

    @property
    def nonces(self) -> set[str | None]:
        return {script.get("nonce") for script in self.scripts}


class LazyNonce(SimpleLazyObject):
    """One of Django's or django-csp's kind: false until it is used."""

    def __init__(self, nonce: str) -> None:
        super().__init__(lambda: nonce)

    def __bool__(self) -> bool:
        return False


def head(arguments: str = "", user: Any = None, context: Any = None, **attributes: Any) -> Head:
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    vars(request).update(attributes)
    template = Template("{% load webpush_kit %}{% webpush_kit_head " + arguments + " %}")
    return Head(template.render(RequestContext(request, context)))


class TestHeadTag:
    def test_it_tells_the_module_where_things_are(self, user: Any) -> None:
        found = head(user=user)
        assert found.metas["webpush-kit-base"] == "/api/v1/push/"
        assert found.metas["webpush-kit-config"] == reverse("webpush_kit:config")
        assert found.metas["webpush-kit-key"] == vapid_keyring().current.public_key
        assert len(found.metas["webpush-kit-csrf"] or "") == 64
        names = ["webpush-kit.js", "webpush-kit-elements.js"]
        assert found.scripts == [{"type": "module", "src": f"/static/django_webpush_kit/{name}"} for name in names]

    def test_the_user_mark_differs_between_users_and_names_none(self, make_user: Any) -> None:
        users = [make_user(), make_user()]
        marks = [head(user=one).metas["webpush-kit-user"] for one in users]
        assert len({*marks, head().metas["webpush-kit-user"]}) == 3
        assert head().metas["webpush-kit-user"] == ""
        assert head(user=users[0]).metas["webpush-kit-user"] == marks[0]

    def test_the_scripts_carry_a_nonce_where_there_is_one(self) -> None:
        assert head("nonce='n1'").nonces == {"n1"}
        assert head("nonce=given", context={"given": '"><script>', "csp_nonce": "n1"}).nonces == {'"><script>'}
        assert head(context={"csp_nonce": None}, csp_nonce="n2").nonces == {"n2"}
        assert head(context={"csp_nonce": None}).nonces == {None}

    def test_a_nonce_that_nothing_has_used_yet_is_used(self) -> None:
        assert head(context={"csp_nonce": LazyNonce("n1")}).nonces == {"n1"}
        assert head(csp_nonce=LazyNonce("n2")).nonces == {"n2"}

    def test_djangos_own_policy_names_the_nonce_of_the_scripts(self, settings: Any) -> None:
        csp = pytest.importorskip("django.middleware.csp", reason="Django 6 brought it")
        from django.template.context_processors import csp as context_processor
        from django.utils.csp import CSP

        settings.SECURE_CSP = {"script-src": [CSP.NONCE]}
        template = Template("{% load webpush_kit %}{% webpush_kit_head %}")

        def view(request: Any) -> HttpResponse:
            return HttpResponse(template.render(RequestContext(request, processors=[context_processor])))

        answer = csp.ContentSecurityPolicyMiddleware(view)(RequestFactory().get("/"))
        (nonce,) = Head(answer.content.decode()).nonces
        assert answer.headers["Content-Security-Policy"] == f"script-src 'nonce-{nonce}'"

    def test_it_tells_the_scope_of_the_service_worker(self, push_settings: Any) -> None:
        push_settings(SERVICE_WORKER_SCOPE="/shop/")
        assert head().metas["webpush-kit-scope"] == "/shop/"

    @pytest.mark.parametrize(
        ("language", "shipped"),
        [
            ("en-gb", "en"),
            ("de-at", "de"),
            ("pt", "pt-br"),
            ("pt-br", "pt-br"),
            ("ja", "ja"),
            ("nl", "en"),
            (None, "en"),
        ],
    )
    def test_it_names_the_texts_in_the_language_of_the_page(self, language: Any, shipped: str) -> None:
        with translation.override(language):
            url = head().metas["webpush-kit-texts"]
        assert url == f"/static/django_webpush_kit/webpush-kit-texts-{shipped}.js"

    def test_every_language_of_the_elements_can_be_named(self) -> None:
        files = (views.PACKAGE / "static" / "django_webpush_kit").glob("webpush-kit-texts-*.js")
        assert {path.stem.removeprefix("webpush-kit-texts-") for path in files} == set(TEXT_LANGUAGES)

    def test_elements_can_be_left_out(self) -> None:
        assert head("elements=False").sources == ["/static/django_webpush_kit/webpush-kit.js"]

    def test_without_a_request_or_a_key_the_rest_is_there(self, push_settings: Any) -> None:
        push_settings(VAPID_PRIVATE_KEY="")
        found = Head(Template("{% load webpush_kit %}{% webpush_kit_head %}").render(Context()))
        assert found.metas == {
            "webpush-kit-base": "/api/v1/push/",
            "webpush-kit-config": "/api/v1/push/config",
            "webpush-kit-key": "",
            "webpush-kit-scope": "/",
            "webpush-kit-module": "/static/django_webpush_kit/webpush-kit.js",
            "webpush-kit-texts": "/static/django_webpush_kit/webpush-kit-texts-en.js",
        }

    def test_nothing_is_inline(self) -> None:
        html = Template("{% load webpush_kit %}{% webpush_kit_head %}").render(Context())
        assert html.rstrip().endswith('"></script>')
        assert "style" not in html


class TestHealth:
    def test_everyone_sees_the_figures_and_staff_the_details(self, api: ApiClient, login: Any, make_user: Any) -> None:
        public = {"status", "success_rate", "active_subscriptions", "recent_notifications", "timestamp"}
        answer = api.call("GET", "health")
        assert (answer.status_code, answer.json()["status"], set(answer.json())) == (200, "healthy", public)
        assert set(login(make_user()).call("GET", "health").json()) == public
        assert set(login(make_user(is_staff=True)).call("GET", "health").json()) > public

    @pytest.mark.parametrize(
        ("is_strict", "query", "status"),
        [
            (False, "", 200),
            (False, "?strict=1", 503),
            (False, "?strict=0", 200),
            (False, "?strict=", 200),
            (True, "", 503),
            (True, "?strict=1", 503),
        ],
    )
    def test_unhealthy_is_503_in_strict_mode(
        self, api: ApiClient, push_settings: Any, subscription: Any, is_strict: bool, query: str, status: int
    ) -> None:
        push_settings(VAPID_PRIVATE_KEY="", HEALTH_STRICT=is_strict)
        answer = api.call("GET", f"health{query}")
        assert (answer.status_code, answer.json()["status"]) == (status, "unhealthy")

    def test_healthy_is_200_however_strict(self, api: ApiClient, push_settings: Any) -> None:
        push_settings(HEALTH_STRICT=True)
        assert api.call("GET", "health?strict=1").status_code == 200

    def test_it_can_be_kept_for_staff(self, api: ApiClient, login: Any, make_user: Any, push_settings: Any) -> None:
        push_settings(HEALTH_PUBLIC=False)
        assert api.call("GET", "health").status_code == 401
        assert login(make_user()).call("GET", "health").status_code == 403
        assert login(make_user(is_staff=True)).call("GET", "health").status_code == 200


class TestOpenApi:
    @pytest.fixture
    def document(self, api: ApiClient) -> Any:
        return api.call("GET", "openapi.json").json()

    def test_it_describes_every_path_and_method(self, document: Any, api: ApiClient) -> None:
        described = {
            (path, method.upper()) for path, methods in document["paths"].items() for method in methods if method
        }
        served = set()
        for pattern in urls.urlpatterns:
            assert isinstance(pattern, URLPattern)
            route = str(pattern.pattern)
            if route == "preferences-form":
                continue  # HTML
            allowed = api.call("PATCH", route.replace("<token>", "x")).headers["Allow"].split(", ")
            served |= {("/" + route.replace("<token>", "{token}"), method) for method in allowed if method != "HEAD"}
        assert described == served

    def test_bodies_have_the_members_that_the_forms_take(self, document: Any) -> None:
        schemas = document["components"]["schemas"]

        def body(path: str, method: str) -> Any:
            schema = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
            return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

        for schema, form in [
            (body("/subscribe", "post"), forms.SubscribeForm()),
            (schemas["Subscription"], forms.SubscriptionForm()),
            (schemas["Subscription"]["properties"]["keys"], forms.KeysForm()),
            (body("/unsubscribe", "post"), forms.EndpointForm()),
            (body("/test", "post"), forms.EndpointForm()),
            (body("/preferences", "put"), forms.PreferencesForm()),
            (body("/events", "post"), forms.EventsForm()),
            (schemas["Event"], forms.EventForm()),
        ]:
            assert set(schema["properties"]) == set(form.fields)
            assert set(schema["required"]) == {name for name, field in form.fields.items() if field.required}

    def test_limits_are_those_of_the_code(self, document: Any) -> None:
        schemas = document["components"]["schemas"]
        events = document["paths"]["/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert events["properties"]["events"]["maxItems"] == forms.MAX_EVENTS
        assert schemas["Event"]["properties"]["token"]["maxLength"] == forms.MAX_TOKEN
        assert schemas["Event"]["properties"]["action"]["enum"] == ActionType.values
        assert schemas["Endpoint"]["maxLength"] == MAX_ENDPOINT_BYTES

    def test_every_body_and_answer_has_an_example(self, document: Any) -> None:
        for name, content in contents(document):
            assert content.get("examples"), name


def contents(value: Any, name: str = "") -> Any:
    """Every JSON content in the document but its own schema's."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "application/json" and "openapi" not in inner["schema"].get("properties", {}):
                yield name, inner
            yield from contents(inner, f"{name}/{key}")


REFERENCE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")


def test_the_reference_lists_every_path() -> None:
    listed = set(re.findall(r"^\| `([^`]+)` \|", REFERENCE, re.MULTILINE))
    assert listed == {str(pattern.pattern) for pattern in urls.urlpatterns}


def test_the_reference_lists_every_error_code_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3})[\d, ]* \| `(\w+)`", REFERENCE, re.MULTILINE)
    assert {code: int(status) for status, code in rows} == {code.value: status for code, status in STATUSES.items()}
    assert set(STATUSES) == set(ErrorCode)


def test_the_openapi_document_lists_every_error_code(api: ApiClient) -> None:
    document = api.call("GET", "openapi.json").json()
    assert document["components"]["schemas"]["Error"]["properties"]["code"]["enum"] == [*ErrorCode]


def test_every_error_code_is_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (views.PACKAGE / "api").glob("*.py"))
    used = re.findall(r"(?<!    )ErrorCode\.(\w+)(?!: )", source)
    assert set(used) == set(ErrorCode.__members__)
