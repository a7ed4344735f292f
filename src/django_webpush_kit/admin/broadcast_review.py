"""What a broadcast will do, in words, for the page that asks before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Count
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.models import get_template_model
from django_webpush_kit.outbox.audiences import audience
from django_webpush_kit.templating.preview import preview

AUDIENCE_LIMIT = 100_000
"""An audience is counted up to here, so that the page also opens quickly on a large site."""

MAX_PREVIEWS = 5


def review(given: Mapping[str, Any]) -> list[Any]:
    """Return the sentences and previews for the cleaned data of the broadcast form."""
    return [*_reach(given["audience"], given["type"]), *_schedule(given), *_previews(given)]


def _reach(name: str, type_: str) -> Iterator[str]:
    """How many people and browsers the audience has now; the audience is a function of the project, and may raise."""
    try:
        members = audience(name, type_).order_by()[: AUDIENCE_LIMIT + 1]
        reach = members.aggregate(browsers=Count("pk"), people=Count("user", distinct=True))
    except Exception as error:  # noqa: BLE001 - shown instead
        yield _("Audience %(name)s: it cannot be counted (%(error)s).") % {"name": name, "error": error}
        return
    if reach["browsers"] > AUDIENCE_LIMIT:
        yield _("Audience %(name)s: more than %(limit)s browsers.") % {
            "name": name,
            "limit": f"{AUDIENCE_LIMIT:,}",
        }
        return
    browsers = ngettext("%(count)s browser", "%(count)s browsers", reach["browsers"]) % {
        "count": f"{reach['browsers']:,}"
    }
    people = ngettext("%(count)s user", "%(count)s users", reach["people"]) % {"count": f"{reach['people']:,}"}
    yield _("Audience %(name)s: %(browsers)s of %(people)s now, without users who opted out.") % {
        "name": name,
        "browsers": browsers,
        "people": people,
    }


def _schedule(given: Mapping[str, Any]) -> Iterator[str]:
    moment = given["scheduled_for"]
    if moment is None:
        yield _("It goes out as soon as you start it.")
    else:
        shown = date_format(localtime(moment), "DATETIME_FORMAT")
        yield _("It goes out at %(moment)s.") % {"moment": shown}
    yield _("Quiet hours are ignored.") if given["options"].get("critical") else _("Quiet hours are respected.")
    ttl = given["options"].get("ttl", kit_settings.DEFAULTS.get("ttl"))
    if ttl is not None:
        yield _("Browsers that are offline get it within %(ttl)s seconds, or not at all.") % {"ttl": ttl}


def _previews(given: Mapping[str, Any]) -> Iterator[Any]:
    templates = get_template_model().objects.filter(type=given["type"]).order_by("language")
    for template in templates[:MAX_PREVIEWS]:
        try:
            text = preview(template, given["context"])
        except TemplateRenderError as error:
            yield str(error)
            continue
        yield format_html(
            '<span class="webpush-kit-card"><small>{}</small><strong>{}</strong><span>{}</span>'
            "<small>{}</small></span>",
            template.language or _("default language"),
            text.title,
            text.body,
            text.url,
        )
