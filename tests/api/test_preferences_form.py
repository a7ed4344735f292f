"""The preferences as a form that works without JavaScript."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, RequestContext, Template
from django.test import Client, RequestFactory
from django.utils import translation

import django_webpush_kit
from django_webpush_kit.models import get_notification_model, get_subscription_model
from tests.api.conftest import BASE
from tests.factories import make_subscription

pytestmark = pytest.mark.django_db

FORM = f"{BASE}preferences-form"
QUIET = {"quiet": "on", "start": "22:00", "end": "06:30", "timezone": "Europe/Berlin"}


@pytest.fixture(autouse=True)
def types(push_settings: Any) -> None:
    news = {"label": "News", "default": False, "description": "Once a week"}
    push_settings(NOTIFICATION_TYPES={"orders": {"label": "Deliveries"}, "news": news}, RATE_LIMITS={})


@pytest.fixture
def member(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def preferences(subscription: Any) -> Any:
    return get_subscription_model().objects.get(pk=subscription.pk).preferences


def is_active(subscription: Any) -> bool:
    return bool(get_subscription_model().objects.get(pk=subscription.pk).is_active)


def tag(user: Any = None, path: str = "/account/?tab=push") -> str:
    request = RequestFactory().get(path)
    request.user = user or AnonymousUser()
    return Template("{% load webpush_kit %}{% webpush_kit_preferences %}").render(RequestContext(request))


class TestTag:
    def test_it_renders_the_form_inside_the_element(self, user: Any) -> None:
        make_subscription(user, user_agent="Firefox", preferences={"categories": {"news": True, "orders": False}})
        html = tag(user)
        assert html.startswith("<webpush-preferences>")
        assert f'action="{FORM}"' in html
        assert 'name="csrfmiddlewaretoken"' in html
        assert 'name="back" value="/account/?tab=push"' in html
        assert re.findall(r'value="(\w+)"[^>]* checked', html) == ["news"]
        assert "Once a week" in html
        assert "Firefox, since " in html

    def test_it_shows_the_stored_quiet_hours(self, user: Any) -> None:
        window = {"enabled": True, "start": "21:15", "end": "05:45", "timezone": "Asia/Tokyo"}
        make_subscription(user, preferences={"quiet_hours": window})
        html = tag(user)
        assert 'name="quiet" id="webpush-kit-quiet" checked' in html
        assert 'value="21:15"' in html
        assert '<option value="Asia/Tokyo" selected>' in html

    def test_visitors_and_users_without_browsers_get_no_form(self, user: Any) -> None:
        assert "Sign in to receive notifications." in tag()
        html = tag(user)
        assert "None of your browsers receives notifications." in html
        assert "<form" not in html

    def test_it_says_that_a_change_was_saved(self, user: Any) -> None:
        make_subscription(user)
        assert "Saved." in tag(user, "/account/?webpush-kit-saved=1")
        assert "Saved." not in tag(user)

    def test_it_needs_the_request(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="needs the request"):
            Template("{% load webpush_kit %}{% webpush_kit_preferences %}").render(Context())

    @pytest.mark.parametrize(
        "stored", [["x"], "x", {"quiet_hours": 5}, {"quiet_hours": {"start": {}, "timezone": 7}, "categories": [1]}]
    )
    def test_malformed_stored_preferences_are_ignored(self, user: Any, member: Client, stored: Any) -> None:
        row = make_subscription(user)
        get_subscription_model().objects.filter(pk=row.pk).update(preferences=stored)
        assert "<form" in tag(user)
        member.post(FORM, {"types": ["orders"]})
        assert preferences(row)["categories"] == {"orders": True, "news": False}

    def test_a_label_cannot_break_out(self, user: Any, push_settings: Any) -> None:
        push_settings(NOTIFICATION_TYPES={"x": {"label": "<script>1</script>", "description": "<script>2</script>"}})
        make_subscription(user)
        assert "<script>" not in tag(user)

    def test_without_types_there_is_no_list_of_them(self, user: Any, push_settings: Any) -> None:
        push_settings(NOTIFICATION_TYPES={})
        make_subscription(user)
        assert "Notify me about" not in tag(user)


class TestPage:
    def test_it_is_a_page_of_its_own(self, user: Any, member: Client) -> None:
        make_subscription(user)
        answer = member.get(FORM)
        assert answer.status_code == 200
        assert "<form" in answer.content.decode()
        assert "no-store" in answer.headers["Cache-Control"]

    def test_a_visitor_is_redirected_to_the_login(self, settings: Any) -> None:
        settings.LOGIN_URL = "/login/"
        for answer in (Client().get(FORM), Client().post(FORM, {"back": "/account/"})):
            assert answer.status_code == 302
            assert answer.headers["Location"].startswith("/login/?next=/")

    def test_without_authentication_middleware_everybody_is_a_visitor(self) -> None:
        from django_webpush_kit.api.preferences_form import form_context, preferences_form

        request = RequestFactory().get(FORM)
        assert preferences_form(request).status_code == 302
        assert form_context(request)["form"] is None

    def test_it_is_rate_limited(self, member: Client, push_settings: Any) -> None:
        push_settings(RATE_LIMITS={"preferences-form": "1/h"})
        assert [member.get(FORM).status_code for _ in range(2)] == [200, 429]


class TestSaving:
    def test_it_stores_types_and_quiet_hours_in_all_browsers(self, user: Any, member: Client, make_user: Any) -> None:
        rows = [make_subscription(user, preferences={"categories": {"old": False}}) for _ in range(2)]
        theirs = make_subscription(make_user())
        answer = member.post(FORM, {"types": ["news"], "back": "/account/?tab=push#top", **QUIET})
        assert answer.headers["Location"] == "/account/?tab=push&webpush-kit-saved=1#top"
        window = {"enabled": True, "start": "22:00", "end": "06:30", "timezone": "Europe/Berlin"}
        wanted = {"categories": {"old": False, "orders": False, "news": True}, "quiet_hours": window}
        assert [preferences(row) for row in rows] == [wanted, wanted]
        assert preferences(theirs) == {}

    def test_it_can_change_a_single_browser(self, user: Any, member: Client) -> None:
        first, second = make_subscription(user), make_subscription(user)
        member.post(FORM, {"types": ["orders"], "browser": str(first.pk)})
        assert preferences(first)["categories"] == {"orders": True, "news": False}
        assert preferences(second) == {}

    def test_switching_quiet_hours_off_keeps_their_times(self, user: Any, member: Client) -> None:
        row = make_subscription(user)
        member.post(FORM, {**QUIET, "quiet": ""})
        assert preferences(row)["quiet_hours"]["enabled"] is False
        assert preferences(row)["quiet_hours"]["start"] == "22:00"

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"end": "22:00"}, "end"),
            ({"start": ""}, "start"),
            ({"end": "25:00"}, "end"),
            ({"timezone": "Mars/Olympus"}, "timezone"),
            ({"types": ["unknown"]}, "types"),
            ({"browser": "nobody's"}, "browser"),
        ],
    )
    def test_errors_are_shown_beside_their_fields_and_nothing_is_stored(
        self, user: Any, member: Client, change: dict[str, Any], field: str
    ) -> None:
        row = make_subscription(user)
        answer = member.post(FORM, {**QUIET, "back": "/account/", **change})
        assert answer.status_code == 400
        assert field in answer.context["form"].errors
        html = answer.content.decode()
        assert "errorlist" in html
        assert 'value="/account/"' in html
        assert preferences(row) == {}

    @pytest.mark.parametrize(
        "back",
        ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)", "/\\elsewhere.example", ""],
    )
    def test_it_returns_to_this_site_only(self, user: Any, member: Client, back: str) -> None:
        make_subscription(user)
        target = member.post(FORM, {"back": back}).headers["Location"]
        assert urlsplit(target).netloc == ""
        assert (urlsplit(target).path, parse_qs(urlsplit(target).query)) == (FORM, {"webpush-kit-saved": ["1"]})

    def test_the_saved_mark_is_not_added_to_the_url_twice(self, user: Any, member: Client) -> None:
        make_subscription(user)
        back = "/account/?webpush-kit-saved=1"
        assert member.post(FORM, {"back": back}).headers["Location"] == back

    def test_it_needs_the_csrf_token(self, user: Any) -> None:
        row = make_subscription(user)
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        assert client.post(FORM, {"types": ["news"]}).status_code == 403
        assert preferences(row) == {}


class TestOtherButtons:
    def test_a_test_goes_to_the_chosen_browsers(self, user: Any, member: Client) -> None:
        first, second = make_subscription(user), make_subscription(user)
        member.post(FORM, {"test": "1", "browser": str(second.pk)})
        assert [row.subscription_id for row in get_notification_model().objects.all()] == [second.pk]
        assert preferences(second) == {}
        member.post(FORM, {"test": "1"})
        assert {row.subscription_id for row in get_notification_model().objects.all()} == {first.pk, second.pk}

    def test_unsubscribing_ends_the_chosen_browsers(self, user: Any, member: Client) -> None:
        first, second = make_subscription(user), make_subscription(user)
        member.post(FORM, {"unsubscribe": "1", "browser": str(first.pk)})
        assert [is_active(first), is_active(second)] == [False, True]

    def test_a_browser_can_be_removed_whatever_the_rest_of_the_form_holds(self, user: Any, member: Client) -> None:
        first, second = make_subscription(user), make_subscription(user)
        member.post(FORM, {"remove": str(first.pk), "timezone": "Mars/Olympus"})
        assert [is_active(first), is_active(second)] == [False, True]

    def test_a_browser_of_another_user_cannot_be_removed(self, member: Client, make_user: Any) -> None:
        theirs = make_subscription(make_user())
        for key in (theirs.pk, "x", "0"):
            assert member.post(FORM, {"remove": str(key)}).status_code == 302
        assert is_active(theirs)


class TestTranslations:
    ROOT = Path(django_webpush_kit.__file__).parent

    @pytest.mark.parametrize("language", ["ar", "de", "es", "fr", "ja", "pt-br"])
    def test_the_form_uses_the_texts_of_the_element(self, user: Any, language: str) -> None:
        make_subscription(user, user_agent="Firefox")
        with translation.override(language):
            html = tag(user)
        for english in ("Notify me about", "Quiet hours", "Send me a test"):
            assert english not in html
        script = (self.ROOT / f"static/django_webpush_kit/webpush-kit-texts-{language}.js").read_text(encoding="utf-8")
        for name in ("types", "quiet_hours", "quiet", "from", "to", "timezone", "test", "remove"):
            text = re.search(rf'^  {name}: "(.+)",$', script, re.MULTILINE)
            assert text is not None
            assert text[1] in html, name

    def test_every_text_is_translated_into_every_language(self) -> None:
        used = set()
        for path in ("api/preferences_form.py", *(f"templates/django_webpush_kit/{name}.html" for name in PAGES)):
            source = (self.ROOT / path).read_text(encoding="utf-8")
            used |= set(re.findall(r'pgettext(?:_lazy)?\(\s*"web push", "(.+?)"', source))
            used |= set(re.findall(r'translate "(.+?)" context "web push"', source))
        assert len(used) > 15
        for path in self.ROOT.glob("locale/*/LC_MESSAGES/django.po"):
            source = path.read_text(encoding="utf-8")
            assert used == set(re.findall(r'^msgctxt "web push"\nmsgid "(.+)"$', source, re.MULTILINE)), path


PAGES = ("preferences", "preferences_page")
