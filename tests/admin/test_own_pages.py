"""What pages of ours share in the admin: the way to them and their title, in Django's admin and in those of themes."""

import re
from importlib import import_module
from types import ModuleType

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Permission
from django.template.backends.django import DjangoTemplates
from django.urls import path, reverse
from django.utils import timezone

from django_webpush_kit.admin.dashboard import show_panel
from django_webpush_kit.admin.pages import TitlePlace
from django_webpush_kit.models import PushBroadcast, WorkerHeartbeat, get_notification_model
from tests.admin.test_admin import choose, confirm, url_of
from tests.admin.test_admin import rows as rows
from tests.factories import make_notification, make_template

pytestmark = pytest.mark.django_db

BROADCAST = {"type": "news", "content": "text", "title": "Hello", "audience": "all", "scheduled_for_0": ""}


def way_to(page):
    """The texts of the breadcrumbs, and the URLs of those that lead somewhere."""
    trail = re.search(r'<(ol|div) class="breadcrumbs">(.*?)</\1>', page, re.DOTALL)[2]
    texts = re.sub(r"<[^>]*>|&rsaquo;", "\n", trail).split("\n")
    return [text.strip() for text in texts if text.strip()], re.findall(r'href="([^"]+)"', trail)


def test_the_way_to_the_dashboard_and_the_statistics_names_the_app_and_the_list(admin_client):
    texts, urls = way_to(admin_client.get(url_of(WorkerHeartbeat, "dashboard")).content.decode())
    assert texts == ["Home", "Web push", "Workers", "Is delivery fine?"]
    app = reverse("admin:app_list", args=["webpush_kit"])
    assert urls == [reverse("admin:index"), app, url_of(WorkerHeartbeat, "changelist")]
    model = get_notification_model()
    texts, urls = way_to(admin_client.get(url_of(model, "statistics")).content.decode())
    assert texts[-2:] == ["Push notifications", "Statistics"]
    assert urls[-1] == url_of(model, "changelist")


def test_the_way_to_a_confirmation_names_the_list_and_the_row(admin_client, subscription):
    texts, _urls = way_to(choose(admin_client, "deactivate", subscription).content.decode())
    assert texts[-2:] == ["Push subscriptions", "Deactivate subscriptions"]
    row = make_notification(subscription, title="Your order")
    texts, urls = way_to(admin_client.get(url_of(type(row), "again", row.pk)).content.decode())
    assert texts[-3:] == ["Push notifications", "Your order (sent)", "Send again"]
    assert urls[-1] == url_of(type(row), "change", row.pk)


def test_staff_who_may_not_view_the_list_get_no_link_to_it(client, make_user):
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="add_pushbroadcast"))
    client.force_login(user)
    make_template("news")
    key = client.get(url_of(PushBroadcast, "add")).context["adminform"].form["key"].value()
    page = client.post(url_of(PushBroadcast, "add"), {**BROADCAST, "key": key})
    texts, urls = way_to(page.content.decode())
    assert texts[-2:] == ["Broadcasts", "Start the broadcast?"]
    assert url_of(PushBroadcast, "changelist") not in urls


class TestTheme:
    """A page of ours on a base template of a theme."""

    def render(self, base):
        loaders = [
            ("django.template.loaders.locmem.Loader", {"admin/base_site.html": base}),
            "django.template.loaders.app_directories.Loader",
        ]
        engine = DjangoTemplates({"NAME": "theme", "DIRS": [], "APP_DIRS": False, "OPTIONS": {"loaders": loaders}})
        context = {"title": "Ours", "trail": [("/app/", "The app"), ("", "The list")], "title_place": TitlePlace()}
        return " ".join(engine.get_template("django_webpush_kit/admin/page.html").render(context).split())

    def test_a_theme_without_a_place_for_titles_shows_it_above_the_content(self):
        assert self.render("{% block content %}{% endblock %}") == '<h2 class="webpush-kit-title">Ours</h2>'

    def test_the_theme_places_the_title(self):
        page = self.render("<h3>{% block content_title %}{% endblock %}</h3>{% block content %}{% endblock %}")
        assert page == "<h3>Ours</h3>"
        page = self.render("{% block content_title %}<h1>Ours</h1>{% endblock %}{% block content %}{% endblock %}")
        assert page == "<h1>Ours</h1>"

    @pytest.mark.parametrize(
        ("own", "expected"),
        [
            ("", '<ol class="breadcrumb"> <li class="breadcrumb-item"><a'),
            ('<ol class="breadcrumbs"></ol>', '<ol class="breadcrumbs"> <li class="breadcrumb-item"><a'),
            ('<div class="breadcrumbs"></div>', '<div class="breadcrumbs"> <a'),
            ("<ul>of the theme</ul>", "<ul>of the theme</ul>"),
        ],
    )
    def test_the_way_has_the_elements_of_the_theme(self, own, expected):
        page = self.render("{% block breadcrumbs %}" + own + "{% endblock %}")
        assert page.startswith(expected)
        assert ("The list" in page) is ("of the theme" not in own)


class TestAnotherSite:
    """Our models in an admin site of the project, beside the default one."""

    @pytest.fixture
    def other_site(self, settings):
        site = AdminSite("other")
        for model, own in admin.site._registry.items():
            site.register(model, type(own))
        urls = ModuleType("urls_with_two_sites")
        urls.urlpatterns = [path("other/", site.urls), *import_module(settings.ROOT_URLCONF).urlpatterns]
        settings.ROOT_URLCONF = urls
        show_panel(site)
        return site

    def test_no_link_leads_to_the_default_site(self, admin_client, rows, other_site):
        notification = rows["notification"]
        make_notification(notification.subscription, "pending", batch=notification.batch)
        make_notification(notification.subscription, "failed", type="news")
        make_template(rows["template"].type, language="de")
        WorkerHeartbeat.objects.create(
            name="worker", command="deliver_push", started_at=timezone.now(), seen_at=timezone.now()
        )
        PushBroadcast.objects.create(type=rows["template"].type, batch=notification.batch)
        default, waiting, seen = reverse("admin:index", current_app="admin"), ["/other/"], set()
        ours = tuple(f"/other/{label}/" for label in {"webpush_kit", notification._meta.app_label})
        while waiting:
            url = waiting.pop()
            seen.add(url)
            page = admin_client.get(url)
            links = set(re.findall(r'(?:href|action)="([^"?#]+)', page.content.decode(errors="replace")))
            assert not [link for link in links if link.startswith(default)], url
            own = (link for link in links if link.startswith(ours) and link not in seen)
            waiting += [link for link in own if link not in waiting]
        assert any(url.endswith("/again/") for url in seen)
        assert any(url.endswith("/dashboard/") for url in seen)

    def test_a_page_that_acts_returns_to_its_site(self, admin_client, subscription, other_site):
        row = make_notification(subscription, "pending")
        url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_cancel", args=[row.pk], current_app="other")
        page = admin_client.post(url)
        assert url_of(type(row), "change", row.pk) not in page.content.decode()
        confirmed = confirm(admin_client, page)
        assert confirmed.redirect_chain[-1][0].startswith("/other/")
