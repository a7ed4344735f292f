"""The form that starts a broadcast: message, audience and delivery, checked as `services.broadcast` checks them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.contained import shifted
from django_webpush_kit.admin.json_fields import JSONObjectField, VariablesField
from django_webpush_kit.admin.message_preview import preview_messages
from django_webpush_kit.admin.optional_fields import text_field
from django_webpush_kit.admin.reading import template_types, type_labels
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import rows_of
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.models import PushBroadcast, get_template_model
from django_webpush_kit.option_checks import storable
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox import broadcasts
from django_webpush_kit.outbox.audiences import audience_names
from django_webpush_kit.outbox.rates import Rate
from django_webpush_kit.protocol.responses import URGENCIES
from django_webpush_kit.templating.preview import missing_variables, variables_without_date
from django_webpush_kit.templating.validation import validate_template

OWN_FIELDS = ("scheduled_for", "scheduled_local", "expires_at", "idempotency_key")
"""Options that cannot be given as JSON, or that the form sets itself."""

OPTION_FIELDS = ("url", "icon", "urgency", "expires_at")
"""Fields of the form that are options of `services.broadcast`."""

EARLIEST_ZONE = timedelta(hours=14)
LATEST_ZONE = timedelta(hours=12)
"""A local time comes first in UTC+14 and last in UTC-12."""

TEMPLATE, FREE_TEXT = "template", "text"

DEFAULT_TYPE = "announcement"
"""The type that is offered if there are neither templates nor NOTIFICATION_TYPES."""


def broadcast_types() -> list[tuple[str, str]]:
    """Return the notification types of templates and settings as choices, with their labels."""
    labels = type_labels()
    names = sorted({*template_types(), *labels}) or [DEFAULT_TYPE]
    return [(name, labels.get(name, name)) for name in names]


def audiences() -> list[tuple[str, str]]:
    """Return the names of the audiences as choices."""
    return [(name, name) for name in audience_names()]


class BroadcastForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    """The arguments of `services.broadcast`. Submitting the same form twice starts one broadcast."""

    content = forms.ChoiceField(
        label=_("Message"),
        choices=[(TEMPLATE, _("The templates of the type")), (FREE_TEXT, _("Text typed here"))],
        widget=forms.RadioSelect,
        initial=TEMPLATE,
        required=False,
    )
    type = forms.ChoiceField(
        label=capfirst(_("type")),
        help_text=_("Subscribers who switched this type off are left out."),
    )
    title = text_field(_("Title"), _("May contain variables such as {{ recipient.first_name }}."), max_length=200)
    body = forms.CharField(label=_("Text"), required=False, widget=AdminTextareaWidget(attrs={"rows": 3}))
    url = text_field(_("Link"), _("The page that a click opens: a path on this site, or an https URL."), max_length=500)
    icon = text_field(_("Icon"), _("A path on this site, or an https URL."), max_length=500)
    context = VariablesField(
        label=_("Variables"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
        help_text=_('The variables of the template as JSON, for example {"number": 7, "starts": "2030-05-01T18:00"}.'),
    )
    audience = forms.ChoiceField(label=capfirst(_("audience")), choices=audiences)
    scheduled_for = forms.SplitDateTimeField(
        label=_("Send at"),
        required=False,
        widget=AdminSplitDateTime,
        help_text=_("Leave empty to send as soon as you start it."),
    )
    is_local = forms.BooleanField(
        label=_("On each recipient's own clock"),
        required=False,
        help_text=_("At this time in the time zone of each browser, instead of at one moment everywhere."),
    )
    rate = text_field(
        _("Rate"),
        _("The most messages per second, minute, hour or day, such as 5000/m. Empty: as fast as possible."),
        max_length=20,
        placeholder="5000/m",
    )
    expires_at = forms.SplitDateTimeField(
        label=_("Expires at"),
        required=False,
        widget=AdminSplitDateTime,
        help_text=_("Messages that a browser has not received by then are dropped."),
    )
    urgency = forms.ChoiceField(
        label=_("Urgency"),
        required=False,
        choices=[("", _("as in the template")), *((urgency, urgency) for urgency in URGENCIES)],
    )
    options = JSONObjectField(
        label=_("Further options"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 2}),
        help_text=_('Options of send() as JSON, for example {"ttl": 3600, "tag": "news"}.'),
    )
    key = forms.CharField(max_length=64, widget=forms.HiddenInput, initial=uuid4)

    class Meta:
        model = PushBroadcast
        fields = ("type", "audience", "context", "options", "scheduled_for", "rate")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["type"].choices = broadcast_types()  # type: ignore[attr-defined]  # read once for each form
        self._opened_at = timezone.now()

    def clean_content(self) -> str:
        """Return where the text comes from: the type's templates unless the form says otherwise."""
        return self.cleaned_data["content"] or TEMPLATE

    def clean_rate(self) -> str:
        """Check the rate."""
        rate: str = self.cleaned_data["rate"]
        if rate:
            _as_validation(lambda: Rate.parse(rate))
        return rate

    def clean_expires_at(self) -> datetime | None:
        """Refuse a moment that has passed."""
        moment: datetime | None = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise ValidationError(_("This moment has passed."))
        return moment

    def clean(self) -> dict[str, Any]:
        """Validate as `services.broadcast` does."""
        given: dict[str, Any] = super().clean() or {}
        for name in OWN_FIELDS:
            if name in given.get("options", ()):
                self.add_error("options", _("Set %s in its own field.") % name)
        for name in OPTION_FIELDS:
            if given.get(name) and name in given.get("options", ()):
                self.add_error("options", _("%s is set in its own field, too. Remove one of them.") % name)
        self._check_schedule(given)
        if given.get("content") == FREE_TEXT:
            self._check_free_text()
        if not self.errors:
            self._check_message(given)
        return given

    def _post_clean(self) -> None:
        """Do not build a row from the fields: `start` writes it."""

    @cached_property
    def free_text(self) -> Any:
        """The typed text as an unsaved template row, or None if the type's templates are used."""
        given = self.cleaned_data
        if given.get("content") != FREE_TEXT:
            return None
        texts = {f"{name}_template": given.get(name, "") for name in ("title", "body", "url", "icon")}
        return get_template_model()(type=given.get("type", ""), **texts)

    @cached_property
    def templates(self) -> list[Any]:
        """The template rows that the broadcast renders."""
        free_text = self.free_text
        if free_text is not None:
            return [free_text]
        rows = rows_of(get_template_model()).filter(type=self.cleaned_data.get("type", ""))
        return list(rows.order_by("language"))

    @property
    def options_given(self) -> dict[str, Any]:
        """The options for `services.broadcast`: those of the fields and those typed as JSON."""
        given = self.cleaned_data
        names = OPTION_FIELDS if given.get("content") != FREE_TEXT else ("urgency", "expires_at")
        options = {**given.get("options", {}), **{name: given[name] for name in names if given.get(name)}}
        if given.get("scheduled_for"):
            if given.get("is_local"):
                options["scheduled_local"] = timezone.make_naive(given["scheduled_for"])
            else:
                options["scheduled_for"] = given["scheduled_for"]
        return options

    def start(self, created_by: Any) -> tuple[PushBroadcast, bool]:
        """Start the broadcast that the form describes. Returns it, and whether it is new.

        The same form sent again returns the first broadcast. If it was changed, it starts another one.
        """
        given = self.cleaned_data
        contents = {name: value for name, value in given.items() if name != "key"}
        digest = sha256(json.dumps(contents, sort_keys=True, default=repr).encode()).hexdigest()
        broadcast = broadcasts.start(
            given["type"],
            given["audience"],
            given["context"],
            {**self.options_given, "idempotency_key": f"admin-{given['key']}-{digest}"},
            rate=given["rate"] or None,
            created_by=created_by,
            free_text=self.free_text,
        )
        return broadcast, broadcast.created_at >= self._opened_at

    def _check_schedule(self, given: Mapping[str, Any]) -> None:
        moment, now = given.get("scheduled_for"), timezone.now()
        if moment is None:
            if given.get("is_local") and "scheduled_for" not in self.errors:
                self.add_error("scheduled_for", _("Enter the local time at which it is sent."))
            return
        earliest = latest = moment
        if given.get("is_local"):
            clock = timezone.make_aware(timezone.make_naive(moment), timezone.get_fixed_timezone(0))
            earliest, latest = shifted(clock, -EARLIEST_ZONE), shifted(clock, LATEST_ZONE)
        if latest < now - timedelta(minutes=1):
            self.add_error("scheduled_for", _("This moment has passed. Leave empty to send now."))
        expires_at = given.get("expires_at")
        if expires_at is not None and expires_at <= earliest:
            self.add_error("expires_at", _("It must expire later than it is sent."))

    def _check_free_text(self) -> None:
        if not self.cleaned_data.get("title") and "title" not in self.errors:
            self.add_error("title", _("Enter a title: browsers show no notification without one."))
            return
        try:
            validate_template(self.free_text)
        except ValidationError as error:
            for name, problems in error.message_dict.items():
                self.add_error(name.removesuffix("_template"), problems)

    def _check_message(self, given: Mapping[str, Any]) -> None:
        try:
            options = SendOptions.parse(self.options_given)
        except (WebPushKitError, TypeError) as error:
            name = str(error).partition(" ")[0].partition(":")[0].partition("[")[0]
            self.add_error(name if name in OPTION_FIELDS and given.get(name) else "options", storable(str(error)))
            return
        field = "title" if given["content"] == FREE_TEXT else "context"
        try:
            if problems := list(self._variable_problems(self.templates, given["context"])):
                self.add_error("context", problems)
                return
            broadcasts.check(
                given["type"],
                given["audience"],
                given["context"],
                options,
                rate=given["rate"] or None,
                free_text=self.free_text,
            )
        except (WebPushKitError, TypeError) as error:
            self.add_error(field, storable(str(error)))
            return
        shown = preview_messages(self.templates, given["context"], options.given)
        # a message that is too large would fail for every recipient
        if problems := [problem for message in shown for problem in message.problems]:
            self.add_error(field, problems)

    def _variable_problems(self, templates: Iterable[Any], context: Mapping[str, Any]) -> Iterable[Any]:
        """Yield problems of the variables; `TemplateRenderError` for a template that cannot be rendered."""
        missing: dict[str, None] = {}
        undated: dict[str, None] = {}
        for template in templates:
            undated |= dict.fromkeys(variables_without_date(template, context))
            missing |= dict.fromkeys(missing_variables(template, context))
        if missing and kit_settings.MISSING_VARIABLES == "error":
            yield _("Missing variables: %(names)s.") % {"names": ", ".join(missing)}
        for name in undated:
            yield _('"%(name)s" must be a date such as "2030-05-01" or "2030-05-01T18:00".') % {"name": name}


def _as_validation(check: Any) -> None:
    try:
        check()
    except WebPushKitError as error:
        raise ValidationError(storable(str(error))) from None
