"""The pages of a template beside its form: languages side by side, where it is used, and its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import global_settings, settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _

from django_webpush_kit.admin.contained import with_edge_moments
from django_webpush_kit.admin.message_preview import preview_message
from django_webpush_kit.admin.pages import NOBODY, Viewer
from django_webpush_kit.admin.reading import count_up_to
from django_webpush_kit.database import rows_of
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.models import PushBroadcast, get_notification_model
from django_webpush_kit.option_checks import storable
from django_webpush_kit.outbox.snapshots import thaw
from django_webpush_kit.templating.json_values import as_json
from django_webpush_kit.templating.languages import normalized_language
from django_webpush_kit.templating.lint import lint_templates
from django_webpush_kit.templating.preview import sample_context, template_variables

MAX_LANGUAGES = 40

MAX_USES = 5

COUNT_LIMIT = 1000
"""Maximum number of notifications of a template that are counted."""


@dataclass(frozen=True, slots=True)
class Translation:
    """One language of a type: its texts, and what it lacks compared with the template on the page.

    `url` is its page, or the page that adds it if `is_missing`.
    """

    language: str
    title: str = ""
    body: str = ""
    url: str = ""
    lacks: list[str] = field(default_factory=list)
    adds: list[str] = field(default_factory=list)
    buttons: int = 0
    is_missing: bool = False
    is_current: bool = False


def panel_of(template: Any, sample: Mapping[str, Any], *, viewer: Viewer = NOBODY) -> dict[str, Any]:
    """Return the context of the panel for a template, which may be unsaved and invalid."""
    others = list(type(template).objects.filter(type=template.type).exclude(pk=template.pk).order_by("language"))
    message = preview_message(template, sample)
    problems = [problem.text for problem in lint_templates([template, *others]) if problem.template == str(template)]
    return {
        "message": message,
        "problems": [storable(problem) for problem in dict.fromkeys([*problems, *message.problems])],
        "variables": _variables(template) or [],
        "translations": [*_translations(template, others, viewer), *_missing_languages(template, others, viewer)],
    }


def placeholders(template: Any) -> dict[str, Any]:
    """Return a placeholder for each variable, as JSON."""
    try:
        sample = sample_context(template)
    except TemplateRenderError:
        sample = {}
    values: dict[str, Any] = as_json(sample)
    return values


def uses_of(template: Any, *, viewer: Viewer = NOBODY) -> dict[str, Any]:
    """Return where a saved template is used: its notifications (counted up to `COUNT_LIMIT`) and broadcasts."""
    rows = rows_of(get_notification_model()).filter(template=template.pk)
    number = count_up_to(rows, COUNT_LIMIT + 1)
    broadcasts = rows_of(PushBroadcast).filter(type=template.type).order_by("-pk")[:MAX_USES]
    return {
        "notification_count": min(number, COUNT_LIMIT),
        "has_more_notifications": number > COUNT_LIMIT,
        "notifications_url": viewer.list_url(get_notification_model(), template=template.pk),
        "broadcasts": [
            (row, viewer.page_url(PushBroadcast, "change", row.pk)) for row in map(with_edge_moments, broadcasts)
        ],
    }


def history_of(template: Any) -> list[LogEntry]:
    """Return the latest changes that staff made to a template, newest first."""
    content_type = ContentType.objects.get_for_model(type(template))
    entries = LogEntry.objects.filter(content_type=content_type, object_id=str(template.pk))
    return [with_edge_moments(entry) for entry in entries.select_related("user").order_by("-action_time")[:MAX_USES]]


def last_context(type_: str) -> dict[str, Any]:
    """Return the variables of the latest broadcast of a type that had any, as JSON."""
    contexts = rows_of(PushBroadcast).filter(type=type_).exclude(context={}).order_by("-pk")
    context = contexts.values_list("context", flat=True).first()
    return as_json(thaw(context)) if isinstance(context, dict) else {}


def _variables(template: Any) -> list[Any] | None:
    """Return the variables of a template, or None if it cannot be read."""
    try:
        return template_variables(template)
    except TemplateRenderError:
        return None


def _translations(template: Any, others: list[Any], viewer: Viewer) -> list[Translation]:
    here = _variables(template)
    if not others:
        return []
    return [_translation(row, here, viewer, is_current=row is template) for row in [template, *others[:MAX_LANGUAGES]]]


def _translation(row: Any, here: list[Any] | None, viewer: Viewer, *, is_current: bool) -> Translation:
    there = _variables(row)
    ours = {variable.name for variable in here or ()}
    theirs = {variable.name for variable in there or ()}
    is_comparable = here is not None and there is not None
    return Translation(
        storable(row.language) or _("default language"),
        storable(row.title_template),
        storable(row.body_template),
        "" if is_current else viewer.page_url(type(row), "change", row.pk),
        sorted(ours - theirs) if is_comparable else [],
        sorted(theirs - ours) if is_comparable else [],
        len(row.actions) if isinstance(row.actions, list) else 0,
        is_current=is_current,
    )


def _missing_languages(template: Any, others: list[Any], viewer: Viewer) -> list[Translation]:
    """Return the languages in your LANGUAGES that have no text. Django's own list of languages says nothing."""
    if settings.LANGUAGES == global_settings.LANGUAGES or not template.type:
        return []
    present = {normalized_language(row.language) for row in [template, *others]}
    if "" in present:
        present.add(normalized_language(settings.LANGUAGE_CODE))
    return [
        Translation(
            str(name),
            url=viewer.page_url(type(template), "add", query={"type": template.type, "language": code}),
            is_missing=True,
        )
        for code, name in settings.LANGUAGES
        if normalized_language(code) not in present
    ]
