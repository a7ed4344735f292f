"""What would have been sent, for assertions: the push counterpart of `django.core.mail.outbox`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from django_webpush_kit.transports import locmem

if TYPE_CHECKING:
    from django_webpush_kit.base_models import AbstractPushNotification
    from django_webpush_kit.transports.base import PushRequest


class Outbox(Sequence["SentMessage"]):
    """A live view of what `LocmemTransport` was given in this process, oldest first; equal to a list of the same."""

    @overload
    def __getitem__(self, index: int) -> SentMessage: ...
    @overload
    def __getitem__(self, index: slice) -> list[SentMessage]: ...
    def __getitem__(self, index: int | slice) -> SentMessage | list[SentMessage]:
        if isinstance(index, slice):
            return [SentMessage.of(request) for request in locmem.sent[index]]
        return SentMessage.of(locmem.sent[index])

    def __len__(self) -> int:
        return len(locmem.sent)

    def __eq__(self, other: object) -> bool:
        return list(self) == other if isinstance(other, list) else self is other

    __hash__ = None  # type: ignore[assignment]  # like a list: its contents change

    def __repr__(self) -> str:
        return f"outbox{list(self)!r}"

    def clear(self) -> None:
        """Forget every message, and the answers scripted in `transports.locmem.answers`."""
        locmem.sent.clear()
        locmem.answers.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """One message for one subscription, as the browser would get it.

    `url` is what a click opens, `data` the host's own, `actions` the buttons. `ttl` is in seconds. `payload` is the
    whole JSON, `request` what the transport was given.
    """

    id: str
    title: str
    body: str
    url: str
    data: dict[str, Any]
    icon: str
    tag: str
    actions: list[dict[str, str]]
    endpoint: str = field(repr=False)
    ttl: int
    urgency: str
    topic: str
    payload: dict[str, Any] = field(repr=False)
    request: PushRequest = field(repr=False)

    @classmethod
    def of(cls, request: PushRequest) -> SentMessage:
        """Read a transport's request."""
        payload = json.loads(request.payload)
        members = payload.get("notification", {})
        return cls(
            id=str(payload.get("id", "")),
            title=members.get("title", ""),
            body=members.get("body", ""),
            url=members.get("navigate", ""),
            data=members.get("data", {}),
            icon=members.get("icon", ""),
            tag=members.get("tag", ""),
            actions=members.get("actions", []),
            endpoint=request.endpoint,
            ttl=request.ttl,
            urgency=request.urgency,
            topic=request.topic,
            payload=payload,
            request=request,
        )

    @property
    def notification(self) -> AbstractPushNotification:
        """The row of the database's outbox that this message came from."""
        from django_webpush_kit.models import get_notification_model

        return get_notification_model().objects.get(pk=self.request.id)

    @property
    def type(self) -> str:
        """The notification type, read from the row."""
        return self.notification.type


outbox = Outbox()
"""The messages sent in this process by the locmem transport."""
