"""Validate JSON request bodies with Django forms that check types strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.api.errors import invalid
from django_webpush_kit.protocol.endpoints import MAX_ENDPOINT_BYTES
from django_webpush_kit.states import ActionType

MAX_EVENTS = 50
MAX_TOKEN = 300
MAX_KEY = 64

LATEST_MILLISECONDS = 200_000_000_000_000
"""The year 8307. Later times overflow in some databases; this also refuses Infinity."""


def validated(form_class: type[forms.Form], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cleaned values. Raises the 400 error that lists every invalid field."""
    form = form_class(data)
    if not form.is_valid():
        raise invalid(field_errors(form))
    return form.cleaned_data


def field_errors(form: forms.Form, prefix: str = "") -> dict[str, list[str]]:
    """Return the errors of a form and of its nested objects by path: `{"subscription.keys.auth": ["..."]}`."""
    errors: dict[str, list[str]] = {}
    for name, problems in form.errors.as_data().items():
        for problem in problems:
            for path, text in _flattened(problem):
                errors.setdefault(f"{prefix}{name}{path}", []).append(text)
    return errors


class JsonWidget(forms.Widget):
    """Pass a JSON value to its field unchanged."""

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        """Return the member with this name, or None."""
        return data.get(name)


class JsonField(forms.Field):
    """Any JSON value except null."""

    widget = JsonWidget
    empty_values = [None]


class TextField(forms.CharField):
    """A JSON string. Numbers are refused, and white space is kept."""

    widget = JsonWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, **options)

    def to_python(self, value: Any) -> str:
        """Return the text; null is ""."""
        if value is not None and not isinstance(value, str):
            raise ValidationError(_("This must be a string."))
        return value or ""


class ObjectField(forms.Field):
    """A JSON object, validated by a form of its own."""

    widget = JsonWidget

    def __init__(self, form_class: type[forms.Form], **options: Any) -> None:
        super().__init__(**options)
        self.form_class = form_class

    def clean(self, value: Any) -> Any:
        """Return the cleaned members. Errors are reported by path."""
        if value is None:
            return super().clean(value)
        if not isinstance(value, dict):
            raise ValidationError(_("This must be an object."))
        form = self.form_class(value)
        if not form.is_valid():
            raise NestedErrors({f".{name}": texts for name, texts in field_errors(form).items()})
        return form.cleaned_data


class ListField(forms.Field):
    """A JSON list of 1 to `max_length` objects."""

    widget = JsonWidget

    def __init__(self, form_class: type[forms.Form], *, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.item = ObjectField(form_class)

    def clean(self, value: Any) -> list[Any]:
        """Return the cleaned objects. The paths of errors contain the index."""
        if not isinstance(value, list) or not 0 < len(value) <= self.max_length:
            raise ValidationError(_("This must be a list of 1 to %(max)d objects."), params={"max": self.max_length})
        cleaned = []
        errors: dict[str, list[str]] = {}
        for number, item in enumerate(value):
            try:
                cleaned.append(self.item.clean(item))
            except ValidationError as error:
                for path, text in _flattened(error):
                    errors.setdefault(f".{number}{path}", []).append(text)
        if errors:
            raise NestedErrors(errors)
        return cleaned


class NestedErrors(ValidationError):
    """Validation errors inside an object or list, by path."""

    def __init__(self, by_path: Mapping[str, list[str]]) -> None:
        super().__init__("nested")
        self.by_path = by_path


def _flattened(error: ValidationError) -> Iterator[tuple[str, str]]:
    if isinstance(error, NestedErrors):
        for path, texts in error.by_path.items():
            yield from ((path, text) for text in texts)
    else:
        yield from (("", text) for text in error.messages)


class MillisecondsField(forms.Field):
    """A JavaScript timestamp: milliseconds since 1970."""

    widget = JsonWidget

    def to_python(self, value: Any) -> datetime | None:
        """Return an aware datetime, or None for null."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValidationError(_("This must be a number of milliseconds or null."))
        if not 0 <= value < LATEST_MILLISECONDS:
            raise ValidationError(_("Timestamp out of range."))
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=value)


class TimestampField(forms.Field):
    """The time of an event, in milliseconds or as ISO 8601 text. Text that cannot be parsed becomes None."""

    widget = JsonWidget

    def to_python(self, value: Any) -> datetime | None:
        """Return an aware datetime or None."""
        if isinstance(value, bool) or not isinstance(value, int | float | str | None):
            raise ValidationError(_("This must be a number of milliseconds or ISO 8601 text."))
        try:
            moment = parse_datetime(value) if isinstance(value, str) else MillisecondsField(required=False).clean(value)
        except (ValueError, ValidationError):
            return None
        return moment if moment is None or is_aware(moment) else None


class KeysForm(forms.Form):
    """The keys of a subscription, in base64url."""

    p256dh = TextField()
    auth = TextField()


class SubscriptionForm(forms.Form):
    """A subscription in the format of `PushSubscription.toJSON()`."""

    endpoint = TextField()
    keys = ObjectField(KeysForm)
    expirationTime = MillisecondsField(required=False)  # noqa: N815  # the browsers' spelling


class SubscribeForm(forms.Form):
    """The body of a `subscribe` request."""

    subscription = ObjectField(SubscriptionForm)
    preferences = JsonField(required=False)
    language = TextField(required=False)
    timezone = TextField(required=False)
    subscription_token = TextField(required=False)
    old_endpoint = TextField(required=False)


class EndpointForm(forms.Form):
    """A body with the endpoint of one subscription."""

    endpoint = TextField(max_length=MAX_ENDPOINT_BYTES)
    subscription_token = TextField(required=False)


class SubscriptionsForm(forms.Form):
    """The query of a list of browsers: the endpoint of the one that asks, if it has one."""

    endpoint = TextField(required=False, max_length=MAX_ENDPOINT_BYTES)


class RemovalForm(forms.Form):
    """The query of a removal: the primary key of a subscription, as text."""

    id = TextField(max_length=MAX_KEY)


class PreferencesForm(EndpointForm):
    """The body of `PUT preferences`."""

    preferences = JsonField()


class EventForm(forms.Form):
    """One reported event."""

    token = TextField(max_length=MAX_TOKEN)
    action = TextField()
    action_id = TextField(required=False, max_length=64)
    timestamp = TimestampField(required=False)

    def clean_action(self) -> str:
        """Accept only the four known actions."""
        action: str = self.cleaned_data["action"]
        if action not in ActionType.values:
            raise ValidationError(
                _("This must be one of %(actions)s."), params={"actions": ", ".join(ActionType.values)}
            )
        return action


class EventsForm(forms.Form):
    """The body of an `events` request."""

    events = ListField(EventForm, max_length=MAX_EVENTS)
