"""Where the API lives: below a language, below a path, in a namespace of the project's own."""

from __future__ import annotations

from tests.host_project import free_port
from tests.hosts.host import Host, goes_the_whole_way, module

TRANSLATED = """
from django.conf.urls.i18n import i18n_patterns
from django.urls import include

from mysite import views

urlpatterns += [path("order/", views.order)]
urlpatterns += i18n_patterns(
    path("", views.home),
    path("api/v1/push/", include("django_webpush_kit.urls")),
)
"""

LOCALES = """
MIDDLEWARE.insert(3, "django.middleware.locale.LocaleMiddleware")
LANGUAGES = [("de", "Deutsch"), ("en", "English")]
LANGUAGE_CODE = "en-us"
STATIC_URL = "/static/"
"""

QUEUED = 'WEBPUSH_KIT["TASK_BACKEND"] = "django_webpush_kit.task_backends.NullBackend"\n'

NESTED = """
from django.urls import include

from mysite import views

parts = ([path("push/", include("django_webpush_kit.urls"))], "backend")
urlpatterns += [
    path("", views.home),
    path("order/", views.order),
    path("api/", include(parts)),
]
"""


def test_reports_arrive_with_the_api_below_a_language_prefix(tmp_path, push_service):
    host = Host(tmp_path, settings=LOCALES + QUEUED, urls=TRANSLATED)
    host.set_up()
    with host.served() as origin, host.running("deliver_push", "--loop"):
        visitor = goes_the_whole_way(origin, push_service, page="/en/")
        assert visitor.browser.received[0]["events"].startswith("/en/api/v1/push/")


def test_reports_arrive_with_the_site_below_a_path(tmp_path, push_service):
    host = Host(tmp_path, settings=QUEUED + 'STATIC_URL = "static/"\nALLOWED_HOSTS = ["localhost"]\n')
    host.set_up()
    host.environment["SCRIPT_NAME"] = "/site"
    port = free_port()
    server = module("gunicorn", "mysite.wsgi", "-b", f"127.0.0.1:{port}", "--threads", "2")
    with host.served_by(*server, port=port) as origin:
        del host.environment["SCRIPT_NAME"]  # a worker is told nothing of it
        with host.running("deliver_push", "--loop"):
            visitor = goes_the_whole_way(
                origin,
                push_service,
                prepare=lambda visitor: visitor.log_in(page="/site/admin/login/"),
                page="/site/",
                order="/site/order/",
                admin="/site/admin/webpush_kit/",
            )
            assert visitor.browser.received[0]["events"] == "/site/api/v1/push/events"


def test_the_api_in_a_namespace_of_the_project(tmp_path, push_service):
    host = Host(tmp_path, urls=NESTED)
    host.set_up()
    with host.served() as origin:
        visitor = goes_the_whole_way(origin, push_service)
        assert visitor.browser.received[0]["events"] == "/api/push/events"
