"""The preferences as a plain HTML form, which works without JavaScript, for the signed-in user of the session.

It is a page of its own, and part of the pages in which `{% webpush_kit_preferences %}` renders.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.formats import date_format
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timezone import localtime
from django.utils.translation import pgettext, pgettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from django_webpush_kit import services
from django_webpush_kit.api.browsers import active_browsers, remove_browser
from django_webpush_kit.api.errors import ApiError
from django_webpush_kit.api.test_notification import send_test
from django_webpush_kit.api.throttling import check_rate
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.outbox.links import base_for_page
from django_webpush_kit.rollups.browsers import browser_name
from django_webpush_kit.subscriptions.preferences import allows, check_preferences, store_preferences

DEFAULT_START, DEFAULT_END = "22:00", "07:00"

SAVED = "webpush-kit-saved"
"""Query parameter of the page that the form returns to after a change."""


class PreferencesForm(forms.Form):
    """Notification types and quiet hours, for one of a user's browsers or for all of them."""

    browser = forms.ChoiceField(required=False, label=pgettext_lazy("web push", "Browser"))
    types = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    quiet = forms.BooleanField(
        required=False, label=pgettext_lazy("web push", "Hold notifications back during these hours")
    )
    start = forms.CharField(
        required=False, label=pgettext_lazy("web push", "From"), widget=forms.TextInput(attrs={"type": "time"})
    )
    end = forms.CharField(
        required=False, label=pgettext_lazy("web push", "To"), widget=forms.TextInput(attrs={"type": "time"})
    )
    timezone = forms.ChoiceField(required=False, label=pgettext_lazy("web push", "Time zone"))

    def __init__(self, user: Any, data: Any = None) -> None:
        self.browsers = active_browsers(user)
        super().__init__(data, initial=self._stored(), auto_id="webpush-kit-%s")
        every = [("", pgettext("web push", "All my browsers"))]
        self._field("browser").choices = every + [(str(one.pk), described(one)) for one in self.browsers]
        self._field("types").choices = [(name, str(kind.get("label", name))) for name, kind in _types().items()]
        self._field("timezone").choices = [(name, name) for name in time_zones()]

    def _field(self, name: str) -> Any:
        return self.fields[name]

    def _stored(self) -> dict[str, Any]:
        """Return the initial values: the preferences of the newest browser."""
        newest = self.browsers[0] if self.browsers else None
        preferences = newest.preferences if newest else {}
        quiet = preferences.get("quiet_hours") if isinstance(preferences, dict) else None
        quiet = quiet if isinstance(quiet, dict) else {}
        return {
            "types": [name for name in _types() if allows(preferences, name)],
            "quiet": quiet.get("enabled") is True,
            "start": quiet.get("start", DEFAULT_START),
            "end": quiet.get("end", DEFAULT_END),
            "timezone": quiet.get("timezone") or (newest.timezone if newest else "") or settings.TIME_ZONE,
        }

    @property
    def described_types(self) -> list[tuple[Any, str]]:
        """Yield the checkbox of each notification type and its description ("" if it has none)."""
        kinds = _types().values()
        return [(box, str(kind.get("description", ""))) for box, kind in zip(self["types"], kinds, strict=True)]

    def clean(self) -> dict[str, Any]:
        """Check the quiet hours as the API does."""
        cleaned = super().clean() or self.cleaned_data
        quiet = {name: cleaned.get(name) for name in ("start", "end", "timezone") if cleaned.get(name)}
        try:
            wanted = {"enabled": cleaned.get("quiet", False), **quiet}
            cleaned["quiet_hours"] = check_preferences({"quiet_hours": wanted})["quiet_hours"]
        except InvalidSubscription as error:
            self.add_error(error.field.rpartition(".")[2], str(error))
        return cleaned

    def chosen(self) -> list[Any]:
        """Return the subscriptions that a valid form selects."""
        key = self.cleaned_data["browser"]
        return [one for one in self.browsers if key in ("", str(one.pk))]

    def save(self) -> None:
        """Store the preferences. Types that are not in the form are unchanged."""
        wanted = self.cleaned_data["types"]
        for subscription in self.chosen():
            stored = subscription.preferences if isinstance(subscription.preferences, dict) else {}
            categories = stored.get("categories")
            categories = categories if isinstance(categories, dict) else {}
            chosen = {name: name in wanted for name in _types()}
            quiet = self.cleaned_data["quiet_hours"]
            store_preferences(subscription, {"categories": {**categories, **chosen}, "quiet_hours": quiet})


def _types() -> dict[str, Any]:
    return dict(kit_settings.NOTIFICATION_TYPES)


def described(subscription: Any) -> str:
    """Name a browser by family and date."""
    name = browser_name(subscription.user_agent) or pgettext("web push", "Unknown browser")
    since = pgettext("web push", "since {date}").format(
        date=date_format(localtime(subscription.created_at), "DATE_FORMAT")
    )
    return f"{name}, {since}"


@lru_cache(maxsize=1)
def time_zones() -> tuple[str, ...]:
    """Return the names of all time zones, sorted."""
    return tuple(sorted(available_timezones()))


def form_context(request: HttpRequest, form: PreferencesForm | None = None, *, back: str = "") -> dict[str, Any]:
    """Return the context of the form's template. `form` is None if nobody is signed in."""
    user = getattr(request, "user", None)
    if form is None and user is not None and user.is_authenticated:
        form = PreferencesForm(user)
    return {
        "form": form,
        "action": f"{base_for_page(request)}preferences-form",
        "quiet_fields": [form[name] for name in ("start", "end", "timezone")] if form else [],
        "browsers": [(str(one.pk), described(one)) for one in form.browsers] if form else [],
        "back": back or request.get_full_path(),
        "is_saved": SAVED in request.GET,
    }


def _limited(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    @wraps(view)
    def limited(request: HttpRequest, **_prefix: Any) -> HttpResponse:
        user = getattr(request, "user", None)
        try:
            check_rate(request, "preferences-form", user if user is not None and user.is_authenticated else None)
        except ApiError as error:
            return error.response()
        return view(request)

    return limited


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@_limited
@csrf_protect
def preferences_form(request: HttpRequest) -> HttpResponse:
    """Show the form on a page of its own, or save it and redirect to the page it was posted from."""
    user = getattr(request, "user", None)
    back = _safe(request, request.POST.get("back") or request.path)
    if user is None or not user.is_authenticated:
        return redirect_to_login(back)
    if request.method != "POST":
        return render(request, PAGE, form_context(request))
    if "remove" in request.POST:
        remove_browser(user, request.POST["remove"])
        return _return_to(back)
    form = PreferencesForm(user, request.POST)
    if not form.is_valid():
        return render(request, PAGE, form_context(request, form, back=back), status=400)
    for subscription in form.chosen():
        if "test" in request.POST:
            send_test(subscription)
        elif "unsubscribe" in request.POST:
            services.unsubscribe(subscription)
    if not {"test", "unsubscribe"} & set(request.POST):
        form.save()
    return _return_to(back)


PAGE = "django_webpush_kit/preferences_page.html"


def _safe(request: HttpRequest, url: str) -> str:
    """Return the URL if it leads to this site, otherwise that of the form's own page."""
    is_safe = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
    return url if is_safe else request.path


def _return_to(url: str) -> HttpResponseRedirect:
    address, hash_sign, fragment = url.partition("#")
    if SAVED not in address:
        address += f"{'&' if '?' in address else '?'}{SAVED}=1"
    return HttpResponseRedirect(address + hash_sign + fragment)
