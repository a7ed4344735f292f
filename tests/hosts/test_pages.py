"""What stands around our pages: other admin themes, hashed static files, a strict policy, a CMS."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest

from tests.hosts.host import URLS, Host, goes_the_whole_way

THEMES = {
    "unfold": 'INSTALLED_APPS = ["unfold", *INSTALLED_APPS]\n',
    "jazzmin": 'INSTALLED_APPS = ["jazzmin", *INSTALLED_APPS]\n',
    "grappelli": 'INSTALLED_APPS = ["grappelli", *INSTALLED_APPS]\n',
}

WHITENOISE = """
DEBUG = False
ALLOWED_HOSTS = ["localhost"]
MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
"""

POLICY = """
from csp.constants import NONCE, SELF

INSTALLED_APPS += ["csp"]
MIDDLEWARE += ["csp.middleware.CSPMiddleware"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {"default-src": ["'none'"], "script-src": [NONCE], "connect-src": [SELF], "worker-src": [SELF]}
}
"""

WAGTAIL = """
INSTALLED_APPS += [
    "wagtail.contrib.redirects", "wagtail.embeds", "wagtail.sites", "wagtail.users", "wagtail.snippets",
    "wagtail.documents", "wagtail.images", "wagtail.search", "wagtail.admin", "wagtail", "modelcluster", "taggit",
]
WAGTAIL_SITE_NAME = "Host"
WAGTAILADMIN_BASE_URL = "http://localhost"
"""

WAGTAIL_URLS = (
    URLS
    + """
from wagtail import urls as wagtail_urls
from wagtail.admin import urls as wagtailadmin_urls

urlpatterns += [path("cms/", include(wagtailadmin_urls)), path("pages/", include(wagtail_urls))]
"""
)


@pytest.mark.parametrize("theme", THEMES)
def test_admin_themes(theme, tmp_path, push_service):
    urls = URLS
    if theme == "grappelli":
        urls += 'urlpatterns = [path("grappelli/", include("grappelli.urls")), *urlpatterns]\n'
    host = Host(tmp_path, settings=THEMES[theme], urls=urls)
    host.set_up()
    with host.served() as origin:
        visitor = goes_the_whole_way(origin, push_service)
        for page in ("pushnotification/statistics/", "notificationtemplate/add/", "pushbroadcast/add/"):
            visitor.get(f"/admin/webpush_kit/{page}")


@pytest.mark.parametrize("keep_only_hashed", [False, True])
def test_hashed_static_files_find_each_other(keep_only_hashed, tmp_path, push_service):
    host = Host(tmp_path, settings=f"{WHITENOISE}WHITENOISE_KEEP_ONLY_HASHED_FILES = {keep_only_hashed}\n")
    host.set_up()
    host.run("manage.py", "collectstatic", "--noinput", "--verbosity", "0")
    with host.served() as origin:
        visitor = goes_the_whole_way(origin, push_service)
        waiting = re.findall(r'<script type="module" src="([^"]+)"', visitor.get("/").text)
        assert len(waiting) == 2
        while waiting:
            url = waiting.pop()
            assert re.search(r"\.[0-9a-f]{12}\.js$", url)
            imports = re.findall(
                r"""^(?:import|export)\b[^;"'*]*["'](\.[^"']+)["']""", visitor.get(url).text, re.MULTILINE
            )
            waiting += [urljoin(url, name) for name in imports]


def test_the_head_tag_takes_the_nonce_of_django_csp(tmp_path, push_service):
    host = Host(tmp_path, settings=POLICY)
    host.set_up()
    with host.served() as origin:
        visitor = goes_the_whole_way(origin, push_service)
        page = visitor.get("/")
        nonce = re.search(r"'nonce-([^']+)'", page.headers["Content-Security-Policy"])
        assert nonce
        assert f'nonce="{nonce[1]}"' in page.text


def test_with_wagtail(tmp_path, push_service):
    host = Host(tmp_path, settings=WAGTAIL, urls=WAGTAIL_URLS)
    host.set_up()
    with host.served() as origin:
        visitor = goes_the_whole_way(origin, push_service)
        visitor.get("/cms/")
