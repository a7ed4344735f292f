"""The outbox of sent messages for assertions in tests, similar to `django.core.mail.outbox`."""

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
    """A live view of the messages sent by `LocmemTransport` in this process, oldest first. Comparable with lists."""

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
        """Remove all messages, and the scripted responses in `transports.locmem.answers`."""
        locmem.sent.clear()
        locmem.answers.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """One message for one subscription, as its browser would receive it.

    A click opens `url`. `data` is your own data, `actions` are the buttons, `ttl` is in seconds. `payload` is the
    complete JSON, and `request` the `PushRequest`.
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
        """Parse a transport's request."""
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
        """The outbox row of this message, read from the database."""
        from django_webpush_kit.models import get_notification_model

        return get_notification_model().objects.get(pk=self.request.id)

    @property
    def type(self) -> str:
        """The notification type, read from the row."""
        return self.notification.type


outbox = Outbox()
"""The messages sent in this process by the locmem transport."""
