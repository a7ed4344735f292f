"""Calls that type checkers must refuse: an error on every line that is marked, and on no other."""

from __future__ import annotations

from django.contrib.auth.models import User

from django_webpush_kit import services
from tests.typing.shop.models import Browser, Letter


def mistakes(user: User) -> None:
    services.send(user)  # refused: no title
    services.send(7, "Hello")  # refused: not a recipient
    services.send(user, 7)  # refused: not text
    services.send(user, "Hello", titel="x")  # refused: no such option
    services.send(user, "Hello", ttl="1h")  # refused: not seconds
    services.send(user, "Hello", urgency="urgent")  # refused: no such urgency
    services.send(user, "Hello", dir="up")  # refused: no such direction
    services.send(user, "Hello", silent="yes")  # refused: not a bool
    services.send(user, "Hello", vibrate=[0.5])  # refused: not whole milliseconds
    services.send(user, "Hello", actions=[{"action": "x"}])  # refused: a button without a title
    services.send(user, "Hello", timestamp=1_764_000_000)  # refused: not a datetime
    services.send(user, "Hello", expires_at="2030-01-01")  # refused: not a datetime
    services.send_templated(user, "order_shipped")  # refused: type and recipient are swapped
    services.send_templated("order_shipped", user, ["number"])  # refused: not a mapping
    services.broadcast("news", audience=user)  # refused: not the name of an audience
    services.broadcast("news", topics="x")  # refused: no such option
    services.cancel(7)  # refused: not a target
    services.subscribe(endpoint="https://example.com", p256dh="x")  # refused: no auth
    services.update_preferences(user, {})  # refused: not a subscription
    services.send(user, "Hello").sent  # noqa: B018  # refused: no such attribute
    Letter.objects.pending().activ()  # refused: no such queryset method
    Browser.objects.active().get().nicknam  # noqa: B018  # refused: no such field
