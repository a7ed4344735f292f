"""The form of a notification template: buttons, vibration and options as fields, each also possible as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import format_lazy, slugify
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.json_fields import BoundedJSONField, VariablesField
from django_webpush_kit.admin.optional_fields import text_field
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.option_checks import storable
from django_webpush_kit.options import OPTIONS
from django_webpush_kit.protocol.responses import URGENCIES

RAW = "raw"
"""The query parameter that shows buttons as JSON."""

MAX_ROWS = 10
"""Rows of buttons that are read from the form. Browsers show two or three."""

EMPTY_ROWS = 1

MIN_ROWS = 3

BUTTON_KEYS = {
    "title": _("Title"),
    "url": _("Link"),
    "action": _("Name"),
    "icon": _("Icon"),
}


class ButtonsWidget(forms.Widget):
    """Rows of text fields, one row for each button; a text area with JSON if `is_raw` or if rows cannot show it."""

    use_fieldset = True
    is_raw = False

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        """Return the JSON text: as typed, or made from the rows."""
        if name in data:
            return data[name]
        rows = [
            {key: str(data.get(f"{name}-{number}-{key}", "")).strip() for key in BUTTON_KEYS}
            for number in range(MAX_ROWS)
        ]
        return json.dumps([_button(row, number) for number, row in enumerate(rows, 1) if any(row.values())])

    def value_omitted_from_data(self, data: Mapping[str, Any], files: Any, name: str) -> bool:
        """Return whether the form was posted without buttons."""
        return name not in data and f"{name}-0-title" not in data

    def id_for_label(self, id_: str) -> str:
        """Return "": the label belongs to no single field."""
        return ""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return the rows, or the text area."""
        rows = None if self.is_raw else _rows(value)
        if rows is None:
            area = AdminTextareaWidget(attrs={"rows": 4, "aria-label": _("Buttons")})
            return area.render(name, value, attrs, renderer)
        rows += [{}] * max(EMPTY_ROWS, MIN_ROWS - len(rows))
        head = format_html_join("", '<th scope="col">{}</th>', ((label,) for label in BUTTON_KEYS.values()))
        body = format_html_join("", "<tr>{}</tr>", ((self._row(name, *row),) for row in enumerate(rows)))
        return format_html(
            '<table class="webpush-kit-rows"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, body
        )

    def _row(self, name: str, number: int, row: Mapping[str, str]) -> SafeString:
        cells = [
            (f"{name}-{number}-{key}", storable(row.get(key, "")), label, number + 1)
            for key, label in BUTTON_KEYS.items()
        ]
        return format_html_join(
            "",
            '<td><input type="text" name="{0}" id="id_{0}" value="{1}" placeholder="{2}" aria-label="{2} {3}"></td>',
            cells,
        )


class ButtonsField(BoundedJSONField):
    """The buttons of a template."""

    widget = ButtonsWidget

    def clean(self, value: Any) -> Any:
        """Return the list of buttons. Raises ValidationError for a button without a title."""
        buttons = super().clean(value)
        if buttons is None:
            return []
        for number, button in enumerate(buttons if isinstance(buttons, list) else (), 1):
            if isinstance(button, dict) and not button.get("title", True):
                raise ValidationError(_("Button %(number)s: enter a title.") % {"number": number})
        return buttons


class VibrationField(BoundedJSONField):
    """Milliseconds on, off, on, ...: numbers with commas or spaces between them, or a JSON list."""

    widget = AdminTextInputWidget

    def to_python(self, value: Any) -> Any:
        """Return a list of numbers."""
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}([\s,]+[0-9]{1,6})*[\s,]*", value.strip()):
            return [int(number) for number in re.findall("[0-9]+", value)]
        return super().to_python(value)

    def clean(self, value: Any) -> Any:
        """Return the pattern, or an empty list."""
        return super().clean(value) or []

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the pattern changed. Empty text is an empty list."""
        return super().has_changed(initial or None, None if data in ("", "[]") else data)

    def prepare_value(self, value: Any) -> Any:
        """Return the numbers with commas between them."""
        if isinstance(value, list) and all(type(number) is int for number in value):
            return ", ".join(map(str, value))
        return super().prepare_value(value)


class SampleField(VariablesField):
    """Variables for the preview. They are not stored."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return False, so that the history of the template does not mention it."""
        return False


CHANGED_MEANWHILE = _(
    "Somebody changed this template after you had opened it. Copy your text, then open the page again."
)


class VersionField(forms.CharField):
    """The time of the last change, as it was when the form was opened."""

    widget = forms.HiddenInput

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return False, so that the history of the template does not mention it."""
        return False


_UNSET = ("", _("default"))

_YES_OR_NO = [_UNSET, ("true", _("yes")), ("false", _("no"))]


def _number(label: Any, help_text: Any = "") -> forms.Field:
    return forms.IntegerField(label=label, required=False, min_value=0, help_text=help_text)


def _flag(label: Any, help_text: Any = "") -> forms.Field:
    return forms.TypedChoiceField(
        label=label,
        required=False,
        choices=_YES_OR_NO,
        coerce=lambda text: text == "true",
        empty_value=None,
        help_text=help_text,
    )


def _choice(label: Any, choices: Any, help_text: Any = "") -> forms.Field:
    pairs = [_UNSET, *((name, name) for name in choices)]
    return forms.ChoiceField(label=label, required=False, choices=pairs, help_text=help_text)


OPTION_FIELDS: dict[str, forms.Field] = {
    "ttl": _number(_("Time to live"), _("Seconds that the message may wait for the browser.")),
    "urgency": _choice(_("Urgency"), URGENCIES),
    "topic": text_field(_("Topic"), _("A newer message replaces an undelivered one with the same topic.")),
    "tag": text_field(_("Tag"), _("A notification replaces the one on screen with the same tag.")),
    "renotify": _flag(_("Alert again"), _("When it replaces another with the same tag.")),
    "image": text_field(_("Image"), _("Large picture below the text: a path on this site, or an https URL.")),
    "badge": text_field(_("Badge"), _("Small monochrome picture for Android's status bar.")),
    "app_badge": _number(_("Number on the app icon")),
    "dir": _choice(_("Direction of the text"), ("auto", "ltr", "rtl")),
    "critical": _flag(_("Critical"), _("Ignores preferences, quiet hours and daily caps.")),
    "max_retries": _number(_("Maximum retries")),
}
"""The options of a template that have a form field. The others are typed as JSON."""


def field_name(option: str) -> str:
    """Return the name of an option's form field."""
    return f"option_{option}"


class TemplateForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    """A template whose JSON fields are split into form fields.

    The admin makes a subclass for each request: `starting_sample` is the initial value of the sample variables,
    `is_sample_of_broadcast` says that some are those of a broadcast, and `buttons_as_json` shows a text area instead of
    rows.
    """

    starting_sample: Mapping[str, Any] = {}
    is_sample_of_broadcast = False
    buttons_as_json = False

    vibrate_pattern = VibrationField(
        label=_("Vibration"),
        required=False,
        initial=list,
        help_text=_("Milliseconds on, off, on, and so on: 100, 50, 100."),
    )
    actions = ButtonsField(
        label=_("Buttons"),
        required=False,
        initial=list,
        help_text=_("Empty a row to remove a button. The name is what your code gets; it is made from the title."),
    )
    sample_context = SampleField(
        label=_("Sample variables"),
        required=False,
        widget=AdminTextareaWidget(attrs={"rows": 6}),
        help_text=_("JSON for the preview and the test; not stored."),
    )
    version = VersionField(required=False, max_length=40)
    for _name, _field in OPTION_FIELDS.items():
        locals()[f"option_{_name}"] = _field
    del _name, _field

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sample = self.fields["sample_context"]
        sample.initial = self.starting_sample
        if self.is_sample_of_broadcast:
            sample.help_text = format_lazy("{} {}", sample.help_text, _("Taken from the latest broadcast of the type."))
        self.fields["version"].initial = self._version = str(self.instance.updated_at or "")
        self.fields["actions"].widget.is_raw = self.buttons_as_json
        if "options" in self.fields:
            self.fields["options"].show_hidden_initial = False  # it would hold the options of the fields, too
        stored = self.initial.get("options")
        if not isinstance(stored, dict):
            return
        own = {name: value for name, value in stored.items() if name in OPTION_FIELDS and _fits(name, value)}
        self.initial["options"] = {name: value for name, value in stored.items() if name not in own}
        for name, value in own.items():
            shown = str(value).lower() if isinstance(value, bool) else value
            self.initial.setdefault(field_name(name), shown)

    def clean(self) -> dict[str, Any]:
        """Put the options together. If the form has no fields for them, the JSON is all of them.

        Refuses to replace a template that somebody else has changed since the form was opened.
        """
        given: dict[str, Any] = super().clean() or {}
        is_stored = not self.instance._state.adding  # noqa: SLF001  # Django documents `_state.adding`
        if is_stored and given.get("version") and given["version"] != self._version:
            self.add_error(None, CHANGED_MEANWHILE)
        options = given.get("options")
        posted = [name for name in OPTION_FIELDS if self.add_prefix(field_name(name)) in self.data]
        if posted and options in (None, "") and "options" not in self.errors:
            options = {}
        if not isinstance(options, dict):
            return given
        options = dict(options)
        for name in posted:
            value = given.get(field_name(name))
            if value in (None, ""):
                continue
            if name in options and options[name] != value:
                self.add_error(field_name(name), _("This option is in the JSON of further options, too. Remove one."))
                continue
            try:
                options[name] = OPTIONS[name].check(name, value)
            except InvalidOption as error:
                self.add_error(field_name(name), storable(str(error)))
        given["options"] = options
        return given


def _button(row: Mapping[str, str], number: int) -> dict[str, str]:
    """Return a button without empty parts. Its name comes from the title unless it is given."""
    button = {key: text for key, text in row.items() if text or key == "title"}
    button.setdefault("action", slugify(row["title"])[:50] or f"action-{number}")
    return button


def _rows(value: Any) -> list[dict[str, str]] | None:
    """Return the buttons of a JSON text if rows can show them."""
    try:
        buttons = json.loads(value or "[]")
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(buttons, list) or len(buttons) >= MAX_ROWS:
        return None
    is_plain = all(
        isinstance(button, dict)
        and set(button) <= set(BUTTON_KEYS)
        and all(isinstance(text, str) and storable(text) == text for text in button.values())
        for button in buttons
    )
    return buttons if is_plain else None


def _fits(name: str, value: Any) -> bool:
    """Return whether the form field of an option can show a stored value."""
    try:
        return bool(OPTIONS[name].check(name, value) == value)
    except InvalidOption:
        return False
