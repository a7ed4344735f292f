"""The processes of the pacing bench: `python -m benchmarks.pacing.processes TASK PORT NUMBER`.

`fill` writes an outbox of so many rows for two push services; `urgent` writes a one-time password every half second,
so many in all, and prints the subscription's token and the moment of each; `worker` is `deliver_push --loop`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import django
from django.core.management import call_command

from benchmarks.speed.browsers import BODY, TITLE, keys

SERVICES = ("configured.example", "learned.example")
URGENT_SECONDS = 0.5


def fill(port: int, rows: int) -> None:
    """Write low-urgency rows, as many for each push service, and the subscriptions of the one-time passwords."""
    from django_webpush_kit import services
    from django_webpush_kit.models import get_subscription_model

    call_command("migrate", verbosity=0)
    _subscribe(port, "low", rows)
    low = get_subscription_model().objects.all()
    services.send(low, TITLE, BODY, urgency="low")


def urgent(port: int, number: int) -> None:
    """Write one-time passwords, for both push services in turn."""
    from django_webpush_kit import services

    tokens = _subscribe(port, "urgent", number)
    for token, subscription in tokens.items():
        print(json.dumps({"token": token, "moment": time.time()}), flush=True)
        services.send(subscription, "Your code is 4711", urgency="high")
        time.sleep(URGENT_SECONDS)


def worker(_port: int, _number: int) -> None:
    """Deliver until a signal comes."""
    call_command("deliver_push", loop=True, interval=1.0)


def _subscribe(port: int, kind: str, number: int) -> dict[str, Any]:
    """Insert subscriptions, for both push services in turn; returns them by token."""
    from django_webpush_kit.conf import vapid_keyring
    from django_webpush_kit.models import get_subscription_model
    from django_webpush_kit.protocol.endpoints import endpoint_hash

    model: Any = get_subscription_model()
    made = {}
    for count in range(number):
        service = SERVICES[count % len(SERVICES)]
        token = f"{kind}{count}"
        endpoint = f"http://127.0.0.1:{port}/{service}/{token}"
        made[token] = model(
            endpoint=endpoint,
            endpoint_hash=endpoint_hash(endpoint),
            p256dh_key=keys(count)["p256dh"],
            auth_key=keys(count)["auth"],
            vapid_key_id=vapid_keyring().current.key_id,
        )
    model.objects.bulk_create(made.values(), batch_size=500)
    for service in SERVICES:  # all have the same host
        model.objects.filter(endpoint__contains=f"/{service}/").update(push_service=service)
    stored = {row.endpoint: row for row in model.objects.filter(endpoint__contains=f"/{kind}")}
    return {token: stored[row.endpoint] for token, row in made.items()}


if __name__ == "__main__":
    django.setup()
    {"fill": fill, "urgent": urgent, "worker": worker}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
