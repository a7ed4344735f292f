"""Front ends that bring tokens: DRF with simplejwt on another origin, django-ninja and allauth beside us."""

from __future__ import annotations

import requests

from tests.host_project import PASSWORD
from tests.hosts.host import URLS, Host, Visitor, goes_the_whole_way

JWT = """
INSTALLED_APPS += ["rest_framework", "corsheaders"]
MIDDLEWARE.insert(0, "corsheaders.middleware.CorsMiddleware")
CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
CORS_ALLOW_HEADERS = ["authorization", "content-type", "x-subscription-token"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]}
WEBPUSH_KIT["AUTHENTICATORS"] = ["django_webpush_kit.contrib.rest_framework.authenticate"]
"""

JWT_URLS = (
    URLS
    + """
from rest_framework_simplejwt.views import TokenObtainPairView

urlpatterns += [path("api/token/", TokenObtainPairView.as_view())]
"""
)

SESSIONS = """
INSTALLED_APPS += ["rest_framework"]
WEBPUSH_KIT["AUTHENTICATORS"] = ["django_webpush_kit.contrib.rest_framework.authenticate"]
"""

OAUTH = """
INSTALLED_APPS += ["rest_framework", "oauth2_provider"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["oauth2_provider.contrib.rest_framework.OAuth2Authentication"]}
WEBPUSH_KIT["AUTHENTICATORS"] = ["django_webpush_kit.contrib.rest_framework.authenticate"]
"""

GRANT = """
from datetime import timedelta
from django.contrib.auth import get_user_model
from django.utils import timezone
from oauth2_provider.models import AccessToken

user = get_user_model().objects.get()
AccessToken.objects.create(user=user, token="t" * 20, expires=timezone.now() + timedelta(hours=1), scope="")
"""

NINJA_AND_ALLAUTH = """
INSTALLED_APPS += ["ninja", "allauth", "allauth.account", "allauth.headless"]
MIDDLEWARE += ["allauth.account.middleware.AccountMiddleware"]
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
HEADLESS_ONLY = True
"""

NINJA_URLS = (
    URLS
    + """
from ninja import NinjaAPI
from django_webpush_kit.services import send as send_push

api = NinjaAPI(csrf=True) if "csrf" in NinjaAPI.__init__.__code__.co_varnames else NinjaAPI()


@api.post("/order")
def place_order(request):
    return {"queued": send_push(request.user, "Order 1", "is on its way", url="/orders/1/").queued}


urlpatterns += [path("ninja/", api.urls), path("_allauth/", include("allauth.headless.urls"))]
"""
)


def test_a_front_end_on_another_origin_with_json_web_tokens(tmp_path, push_service):
    host = Host(tmp_path, settings=JWT, urls=JWT_URLS)
    host.set_up()
    with host.served() as origin:
        # a page on another origin has neither cookies nor the head tag: it asks `config`
        app = Visitor.at(origin, push_service)
        app.session.headers["Origin"] = "https://app.example.com"
        preflight = app.session.options(
            f"{origin}/api/v1/push/subscribe",
            headers={
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-subscription-token",
            },
            timeout=60,
        )
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        config = app.get("/api/v1/push/config").json()
        body = {"subscription": app.browser.subscribe(config["public_key"])}
        refused = app.post(config["urls"]["subscribe"], body, 401)
        assert isinstance(refused.json()["message"], str)
        wrong = app.post(config["urls"]["subscribe"], body, 401, Authorization="Bearer nonsense").json()
        assert "ErrorDetail" not in wrong["message"], wrong
        token = app.post("/api/token/", {"username": "admin", "password": PASSWORD}).json()["access"]
        app.post(config["urls"]["subscribe"], body, 201, Authorization=f"Bearer {token}")
        assert app.post("/order/", {}).json() == {"queued": 1}
        app.browser.wait_for(timeout=30)
        assert [report.response.json()["recorded"] for report in app.browser.deliver()] == [1]


def test_rest_frameworks_own_session_authentication(tmp_path, push_service):
    host = Host(tmp_path, settings=SESSIONS)
    host.set_up()
    with host.served() as origin:
        visitor = goes_the_whole_way(origin, push_service)
        again = {"subscription": visitor.browser.subscription}
        refused = visitor.post("/api/v1/push/subscribe", again, 403)
        assert "CSRF" in refused.json()["message"]


def test_oauth_toolkit_reads_the_request_body(tmp_path, push_service):
    host = Host(tmp_path, settings=OAUTH)
    host.set_up()
    host.shell(GRANT)
    with host.served() as origin:
        app = Visitor.at(origin, push_service)
        config = app.get("/api/v1/push/config").json()
        body = {"subscription": app.browser.subscribe(config["public_key"])}
        app.post(config["urls"]["subscribe"], body, 401, Authorization="Bearer x")
        app.post(config["urls"]["subscribe"], body, 201, Authorization=f"Bearer {'t' * 20}")
        assert app.post("/order/", {}).json() == {"queued": 1}
        app.browser.wait_for(timeout=30)


def test_with_ninja_and_allauth(tmp_path, push_service):
    host = Host(tmp_path, settings=NINJA_AND_ALLAUTH, urls=NINJA_URLS)
    host.set_up()

    def log_in(visitor: Visitor) -> None:
        visitor.session.get(f"{visitor.origin}/_allauth/browser/v1/config", timeout=60)
        visitor.get("/admin/login/")  # sets the CSRF cookie
        answer = visitor.session.post(
            f"{visitor.origin}/_allauth/browser/v1/auth/login",
            json={"username": "admin", "password": PASSWORD},
            headers={"X-CSRFToken": visitor.session.cookies["csrftoken"]},
            timeout=60,
        )
        assert answer.status_code == requests.codes.ok, answer.text
        visitor.session.headers["X-CSRFToken"] = visitor.session.cookies["csrftoken"]

    with host.served() as origin:
        goes_the_whole_way(origin, push_service, prepare=log_in, order="/ninja/order")
