"""Describe what a broadcast will do (audience, schedule, texts), for the form and the confirmation page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.timezone import make_naive
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_webpush_kit.admin.broadcast_page import duration
from django_webpush_kit.admin.contained import local
from django_webpush_kit.admin.message_preview import MessagePreview, preview_messages
from django_webpush_kit.admin.numbers import formatted
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database
from django_webpush_kit.error_reports import message_of
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.outbox.rates import Rate
from django_webpush_kit.outbox.reach import Reach, count_reach
from django_webpush_kit.templating.preview import missing_variables, template_variables
from django_webpush_kit.templating.variables import TemplateVariable, merged_variables

MAX_PREVIEWS = 8
"""Languages that a page shows."""

MAX_GROUPS = 8
"""Languages and push services that a page lists; the others are summed up."""


@dataclass(slots=True)
class Group:
    """The number of browsers of one language or push service, and their share in percent."""

    name: str
    count: int
    share: int


@dataclass
class Review:
    """The broadcast that the form describes so far. `given` is its cleaned data without invalid fields."""

    given: Mapping[str, Any]
    templates: list[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    audience_problem: str = ""

    @cached_property
    def reach(self) -> Reach | None:
        """The size of the audience, or None if it cannot be counted: `audience_problem` says why."""
        if not self.given.get("audience") or not self.given.get("type"):
            return None
        try:
            with transaction.atomic(using=outbox_database()):  # a failed query must not break the request's
                return count_reach(self.given["audience"], self.given["type"])
        except Exception as error:  # noqa: BLE001 - a function of the project; shown instead
            self.audience_problem = message_of(error)
            return None

    @property
    def languages(self) -> list[Group]:
        """Return the languages of the audience."""
        return _groups(self.reach.languages) if self.reach else []

    @property
    def push_services(self) -> list[Group]:
        """Return the push services of the audience."""
        return _groups(self.reach.push_services) if self.reach else []

    @cached_property
    def messages(self) -> list[MessagePreview]:
        """The message in each language."""
        context = self.given.get("context") or {}
        return preview_messages(self.templates[:MAX_PREVIEWS], context, self.options)

    @cached_property
    def variables(self) -> list[TemplateVariable]:
        """The variables of the templates, in order of appearance."""
        found = []
        for template in self.templates:
            try:
                found.append(template_variables(template))
            except TemplateRenderError:
                continue
        return merged_variables(found)

    @property
    def left_empty(self) -> list[str]:
        """Return missing variables that the setting MISSING_VARIABLES leaves empty."""
        missing: dict[str, None] = {}
        for template in self.templates:
            try:
                missing |= dict.fromkeys(missing_variables(template, self.given.get("context") or {}))
            except (TemplateRenderError, TypeError):
                continue
        return list(missing)

    def sentences(self) -> Iterator[str]:
        """Yield what will happen, in sentences."""
        yield from self._reach_sentences()
        yield from self._schedule_sentences()

    def _reach_sentences(self) -> Iterator[str]:
        name, reach = self.given["audience"], self.reach
        if reach is None:
            yield _("Audience %(name)s: it cannot be counted (%(error)s).") % {
                "name": name,
                "error": self.audience_problem,
            }
            return
        browsers = ngettext("%(count)s browser", "%(count)s browsers", reach.browsers) % {
            "count": formatted(reach.browsers)
        }
        people = ngettext("%(count)s person", "%(count)s people", reach.people) % {"count": formatted(reach.people)}
        sentence = (
            _("Audience %(name)s: more than %(browsers)s of %(people)s now.")
            if reach.is_partial
            else _("Audience %(name)s: %(browsers)s of %(people)s now.")
        )
        yield sentence % {"name": name, "browsers": browsers, "people": people}
        if reach.opted_out:
            yield ngettext(
                "%(count)s browser is left out because it does not want this type.",
                "%(count)s browsers are left out because they do not want this type.",
                reach.opted_out,
            ) % {"count": formatted(reach.opted_out)}
        if not reach.browsers and not reach.is_partial:
            yield _("Nobody will get it. The audience is read again while it is sent.")

    def _schedule_sentences(self) -> Iterator[str]:
        given = self.given
        moment = given["scheduled_for"]
        if moment is None:
            yield _("It goes out as soon as you start it.")
        elif given["is_local"]:
            shown = date_format(make_naive(moment), "DATETIME_FORMAT")
            yield _("It goes out at %(moment)s on each recipient's own clock.") % {"moment": shown}
        else:
            shown = date_format(local(moment), "DATETIME_FORMAT")
            yield _("It goes out at %(moment)s.") % {"moment": shown}
        if given["rate"]:
            yield _("At most %(rate)s messages.") % {"rate": given["rate"]} + self._duration()
        yield _("Quiet hours are ignored.") if self.options.get("critical") else _("Quiet hours are respected.")
        ttl = self.options.get("ttl", kit_settings.DEFAULTS.get("ttl"))
        if ttl is not None:
            seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
            yield _("Browsers that are offline get it within %(time)s, or not at all.") % {"time": duration(seconds)}
        if given["expires_at"]:
            shown = date_format(local(given["expires_at"]), "DATETIME_FORMAT")
            yield _("What has not been received at %(moment)s is dropped.") % {"moment": shown}
        if self.left_empty:
            yield _("Left empty: %(names)s.") % {"names": ", ".join(self.left_empty)}

    def _duration(self) -> str:
        """Return how long the audience takes at the rate, or "" if that is unknown or less than a minute."""
        if self.reach is None or self.reach.is_partial:
            return ""
        minutes = round(self.reach.browsers / Rate.parse(self.given["rate"]).per_second / 60)
        if not minutes:
            return ""
        return " " + ngettext(
            "This takes about %(minutes)s minute.", "This takes about %(minutes)s minutes.", minutes
        ) % {"minutes": formatted(minutes)}


def review_of(form: Any) -> Review:
    """Return the review of a form that was validated, whether it is valid or not."""
    return Review(form.cleaned_data, form.templates, form.options_given)


def _groups(counts: Mapping[str, int]) -> list[Group]:
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    groups = [Group(name or _("unknown"), count, round(100 * count / total)) for name, count in ranked[:MAX_GROUPS]]
    if rest := sum(count for _name, count in ranked[MAX_GROUPS:]):
        groups.append(Group(_("others"), rest, round(100 * rest / total)))
    return groups
