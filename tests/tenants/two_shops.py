"""Two tenants with subscribers of their own, one process, one cache; prints what each got to see, as JSON."""

from __future__ import annotations

import json
import sys
from io import StringIO
from typing import Any

import django
import psycopg
from django.conf import settings

from tests.conftest import new_keys

ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/"


def main() -> None:
    database = settings.DATABASES["default"]
    database["NAME"] = database["TEST"]["NAME"]
    address = {"host": database["HOST"], "user": database["USER"], "password": database["PASSWORD"] or None}
    with psycopg.connect(**address, dbname="postgres", autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{database["NAME"]}"')
        try:
            django.setup()
            sys.stdout.write(f"\n{json.dumps(outcome())}")
        finally:
            from django.db import connections

            connections.close_all()
            server.execute(f'DROP DATABASE "{database["NAME"]}"')


def outcome() -> dict[str, Any]:
    from django.core.management import call_command
    from django_tenants.utils import tenant_context
    from shops.models import Domain, Shop

    from django_webpush_kit import services
    from django_webpush_kit.health import get_health
    from django_webpush_kit.models import get_subscription_model
    from django_webpush_kit.transports import locmem
    from tests import backends
    from tests.api.conftest import ApiClient

    call_command("makemigrations", "shops", verbosity=0)
    call_command("migrate_schemas", "--shared", verbosity=0)
    shops = [Shop.objects.create(schema_name=name) for name in "ab"]
    clients = {}
    for shop in shops:
        Domain.objects.create(domain=f"{shop.schema_name}.example.com", tenant=shop, is_primary=True)
        clients[shop.schema_name] = ApiClient(headers={"host": f"{shop.schema_name}.example.com"})

    endpoints = {"a": [f"{ENDPOINT}a"], "b": [f"{ENDPOINT}b", f"{ENDPOINT}b2"]}
    tokens = {}
    for name, client in clients.items():
        for endpoint in endpoints[name]:
            body = {"subscription": {"endpoint": endpoint, "keys": new_keys()}}
            tokens[name] = client.subscribe(body).json()["subscription_token"]

    keys = []
    for shop in shops:
        with tenant_context(shop):
            subscription = get_subscription_model().objects.first()
            keys.append(services.send(subscription, f"Hello from {shop.schema_name}").notifications.get().pk)
    delivered = StringIO()
    call_command("deliver_push_for_tenants", stdout=delivered)
    payloads = [json.loads(request.payload) for request in locmem.sent]

    report = {"events": [{"token": payloads[0]["token"], "action": "delivered"}]}
    own = clients["a"].call("POST", "events", report)
    foreign = clients["b"].call("POST", "events", report)
    path = "preferences?endpoint="
    health = {}
    for shop in shops:
        with tenant_context(shop):
            health[shop.schema_name] = get_health()["active_subscriptions"]
    return {
        "delivered": delivered.getvalue(),
        "texts": [payload["notification"]["title"] for payload in payloads],
        "primary keys": keys,
        "own report": [own.status_code, own.json()["recorded"]],
        "report to the other shop": foreign.status_code,
        "own repair": clients["a"].call("GET", path + endpoints["a"][0], token=tokens["a"]).status_code,
        "repair at the other shop": clients["b"].call("GET", path + endpoints["b"][0], token=tokens["a"]).status_code,
        "health": health,
        "wake-ups": len(backends.woken),
    }


if __name__ == "__main__":
    sys.exit(main())
