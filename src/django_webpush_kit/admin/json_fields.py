"""Form fields for JSON that people type."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.option_checks import storable
from django_webpush_kit.templating.context import plain_context
from django_webpush_kit.templating.json_values import as_json, with_dates


class BoundedJSONField(forms.JSONField):
    """A JSON field that refuses JSON which Python cannot parse: nested too deeply, or numbers with too many digits."""

    def to_python(self, value: Any) -> Any:
        """Return the parsed value. Raises ValidationError for all invalid JSON."""
        try:
            return super().to_python(value)
        except (ValueError, RecursionError):
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": value}) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return the value to show again: the text as typed if it cannot be parsed."""
        try:
            return super().bound_data(data, initial)
        except (ValueError, RecursionError):
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        """Return the text for the widget. Characters that are not allowed in a page are escaped."""
        text = super().prepare_value(value)
        return text if storable(text) == text else json.dumps(value)


class JSONObjectField(BoundedJSONField):
    """A JSON field for an object. Empty text is an empty object."""

    default_error_messages = {"not_object": _("This must be a JSON object.")}

    def to_python(self, value: Any) -> Any:
        """Return a dict. Raises ValidationError for all other JSON."""
        parsed = super().to_python(value)
        if parsed is None or parsed == "":
            return {}
        if not isinstance(parsed, dict):
            raise ValidationError(self.error_messages["not_object"], code="not_object")
        return parsed

    def clean(self, value: Any) -> Any:
        """Return the parsed object."""
        return super().clean(value) or {}

    def prepare_value(self, value: Any) -> Any:
        """Return the text for the widget: nothing for an empty object."""
        return "" if value is None or value == {} else super().prepare_value(value)


class VariablesField(JSONObjectField):
    """The variables of a template as a JSON object. Texts in ISO 8601 become dates (see `with_dates`)."""

    def to_python(self, value: Any) -> Any:
        """Return a dict of plain values. Raises ValidationError that names the value which is not plain."""
        parsed = with_dates(super().to_python(value))
        try:
            plain_context(parsed, name="variables")
        except TypeError as error:
            raise ValidationError(storable(str(error)), code="invalid") from None
        return parsed

    def prepare_value(self, value: Any) -> Any:
        """Return the text for the widget, a variable a line, with dates in ISO 8601."""
        if not isinstance(value, dict) or not value:
            return super().prepare_value(value)
        text = json.dumps(as_json(value), ensure_ascii=False, indent=2)
        return text if storable(text) == text else json.dumps(as_json(value))
