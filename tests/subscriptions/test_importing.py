"""The import commands, against the tables of the real libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin import site
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError, connection
from django.test import override_settings

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.management.commands.push_import_push_notifications import Command
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.vapid import VapidKey
from django_webpush_kit.signals import subscription_created
from django_webpush_kit.subscriptions import importing
from django_webpush_kit.subscriptions.importing import PAGE_SIZE, ForeignSubscription, import_subscriptions
from django_webpush_kit.testing import outbox
from tests.conftest import new_keys

pytestmark = pytest.mark.django_db(transaction=True)

MOZILLA = "https://updates.push.services.mozilla.com/wpush/v2"


def subscriptions() -> Any:
    return get_subscription_model().objects.order_by("pk")


def run(command: str, *arguments: str) -> str:
    output = StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


def install(settings: Any, app: str, **more: Any) -> Iterator[Any]:
    """Install another library's app beside ours, with its tables."""
    pytest.importorskip(app, reason="its tables are read")
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, app], **more):
        models = [model for model in apps.get_app_config(app).get_models() if model._meta.managed]
        with connection.schema_editor() as editor:
            for model in models:
                editor.create_model(model)
        yield apps.get_app_config(app)
        with connection.schema_editor() as editor:
            for model in reversed(models):
                editor.delete_model(model)
        # its admin module was imported: without the app, the pages of the admin could not list it
        site.unregister([model for model in models if site.is_registered(model)])


@pytest.fixture
def key(push_settings: Callable[..., None]) -> VapidKey:
    """The VAPID key of both libraries."""
    key = VapidKey.generate()
    push_settings(VAPID_PRIVATE_KEY=key.encoded_private_key())
    return key


@pytest.fixture
def webpush(settings: Any, key: VapidKey) -> Iterator[Any]:
    theirs = {"VAPID_PRIVATE_KEY": key.encoded_private_key(), "VAPID_ADMIN_EMAIL": "ops@example.com"}
    yield from install(settings, "webpush", WEBPUSH_SETTINGS=theirs)


@pytest.fixture
def push_notifications(settings: Any, key: VapidKey) -> Iterator[Any]:
    from_theirs = pytest.importorskip("push_notifications.settings", reason="its tables are read")
    theirs = from_theirs.PUSH_NOTIFICATIONS_SETTINGS
    before = dict(theirs)
    theirs["WP_PRIVATE_KEY"] = key.encoded_private_key()
    yield from install(settings, "push_notifications")
    theirs.clear()
    theirs.update(before)


def browser(app: Any, number: int, **fields: Any) -> Any:
    """One of django-webpush's browsers."""
    given = {"browser": "firefox", "user_agent": "Firefox", "endpoint": f"{MOZILLA}/{number}", **new_keys(), **fields}
    return app.get_model("SubscriptionInfo").objects.create(**given)


def device(app: Any, number: int, **fields: Any) -> Any:
    """One of django-push-notifications' devices."""
    given = {"browser": "FIREFOX", "registration_id": f"{MOZILLA}/{number}", **new_keys(), **fields}
    return app.get_model("WebPushDevice").objects.create(**given)


class TestDjangoWebpush:
    command = "push_import_django_webpush"

    def test_users_get_their_browsers_and_messages_arrive(self, webpush: Any, key: VapidKey, user: Any) -> None:
        theirs = browser(webpush, 1)
        webpush.get_model("PushInformation").objects.create(user=user, subscription=theirs)
        assert run(self.command).splitlines() == ["Imported: 1", "Already known: 0", "Refused: 0"]
        [ours] = subscriptions()
        assert (ours.user, ours.endpoint, ours.vapid_key_id) == (user, theirs.endpoint, key.key_id)
        assert (ours.p256dh_key, ours.auth_key, ours.user_agent) == (theirs.p256dh, theirs.auth, "Firefox")
        assert ours.push_service == "updates.push.services.mozilla.com"
        services.send(user, "Moved")
        assert deliver_due().sent == 1
        assert [message.title for message in outbox] == ["Moved"]

    def test_subscriptions_only_in_groups_have_no_user(self, webpush: Any, user: Any) -> None:
        group = webpush.get_model("Group").objects.create(name="news")
        information = webpush.get_model("PushInformation").objects
        both, alone = browser(webpush, 1), browser(webpush, 2)
        information.create(user=user, subscription=both)
        information.create(group=group, subscription=both)
        information.create(group=group, subscription=alone)
        assert "Imported: 2" in run(self.command)
        assert dict(subscriptions().values_list("endpoint", "user")) == {both.endpoint: user.pk, alone.endpoint: None}

    def test_it_can_be_repeated(self, webpush: Any, user: Any) -> None:
        for number in range(3):
            webpush.get_model("PushInformation").objects.create(user=user, subscription=browser(webpush, number))
        run(self.command)
        services.unsubscribe(subscriptions().first())
        before = list(subscriptions().values())
        assert run(self.command).splitlines()[:2] == ["Imported: 0", "Already known: 3"]
        assert list(subscriptions().values()) == before

    def test_invalid_rows_are_skipped_and_listed(self, webpush: Any, user: Any) -> None:
        information = webpush.get_model("PushInformation").objects
        for fields in ({"endpoint": "https://10.0.0.1/x"}, {"p256dh": "AAAA"}, {"auth": "AAAA"}, {}):
            information.create(user=user, subscription=browser(webpush, 9, **fields))
        lines = run(self.command).splitlines()
        assert lines[0] == "Imported: 1"
        assert lines[2] == "Refused: 3"
        assert sorted(line.rpartition("(")[2] for line in lines[3:]) == [
            "SubscriptionInfo 1)",
            "SubscriptionInfo 2)",
            "SubscriptionInfo 3)",
        ]

    def test_a_dry_run_stores_nothing(self, webpush: Any, user: Any) -> None:
        webpush.get_model("PushInformation").objects.create(user=user, subscription=browser(webpush, 1))
        lines = run(self.command, "--dry-run").splitlines()
        assert (lines[0], lines[-1]) == ("Imported: 1", "This was a dry run: nothing was stored.")
        assert not subscriptions().exists()

    def test_a_different_vapid_key_is_an_error(self, webpush: Any, push_settings: Callable[..., None]) -> None:
        push_settings(VAPID_PRIVATE_KEY=VapidKey.generate().encoded_private_key())
        with pytest.raises(CommandError, match=r"VAPID_FALLBACK_PRIVATE_KEYS"):
            run(self.command)

    def test_a_fallback_key_is_accepted(
        self, webpush: Any, push_settings: Callable[..., None], key: VapidKey, user: Any
    ) -> None:
        new = VapidKey.generate().encoded_private_key()
        fallbacks = {"VAPID_PRIVATE_KEY": new, "VAPID_FALLBACK_PRIVATE_KEYS": [key.encoded_private_key()]}
        push_settings(**fallbacks)
        webpush.get_model("PushInformation").objects.create(user=user, subscription=browser(webpush, 1))
        run(self.command)
        assert subscriptions().get().vapid_key_id == key.key_id

    @pytest.mark.parametrize(
        ("theirs", "complaint"),
        [
            ({}, "is empty"),
            ({"VAPID_PRIVATE_KEY": "no key"}, "WEBPUSH_SETTINGS"),
            ({"VAPID_PRIVATE_KEY": ""}, "is empty"),
        ],
    )
    def test_without_the_key_of_django_webpush_nothing_is_stored(
        self, webpush: Any, theirs: Any, complaint: str
    ) -> None:
        with override_settings(WEBPUSH_SETTINGS=theirs), pytest.raises(CommandError, match=complaint):
            run(self.command)

    def test_without_our_key_the_error_names_the_setting(
        self, webpush: Any, push_settings: Callable[..., None]
    ) -> None:
        push_settings(VAPID_PRIVATE_KEY="")
        with pytest.raises(CommandError, match="VAPID_PRIVATE_KEY"):
            run(self.command)

    def test_without_the_app_it_is_an_error(self) -> None:
        with pytest.raises(CommandError, match='"webpush" is not in INSTALLED_APPS'):
            run(self.command)


class TestPushNotifications:
    command = "push_import_push_notifications"

    def test_active_devices_are_imported(self, push_notifications: Any, key: VapidKey, user: Any) -> None:
        theirs = device(push_notifications, 1, user=user)
        device(push_notifications, 2, user=user, active=False)
        anonymous = device(push_notifications, 3)
        assert run(self.command).splitlines() == ["Imported: 2", "Already known: 0", "Refused: 0"]
        found = {one.endpoint: one for one in subscriptions()}
        assert {endpoint: one.user for endpoint, one in found.items()} == {
            theirs.registration_id: user,
            anonymous.registration_id: None,
        }
        assert {one.vapid_key_id for one in found.values()} == {key.key_id}

    def test_the_newer_of_two_devices_with_one_endpoint_is_imported(
        self, push_notifications: Any, user: Any, make_user: Any
    ) -> None:
        device(push_notifications, 1, user=make_user())
        newer = device(push_notifications, 1, user=user)
        assert run(self.command).splitlines()[:2] == ["Imported: 1", "Already known: 1"]
        ours = subscriptions().get()
        assert (ours.user, ours.auth_key) == (user, newer.auth)

    def test_the_endpoint_of_old_devices_is_completed(self, push_notifications: Any, user: Any) -> None:
        device(push_notifications, 1, registration_id="abc", user=user)
        device(push_notifications, 2, registration_id="abc", browser="LYNX", user=user)
        lines = run(self.command).splitlines()
        assert lines[:3] == ["Imported: 1", "Already known: 0", "Refused: 1"]
        assert subscriptions().get().endpoint == f"{MOZILLA}/abc"

    def test_a_missing_key_is_reported(self, push_notifications: Any, user: Any) -> None:
        from push_notifications.settings import PUSH_NOTIFICATIONS_SETTINGS

        device(push_notifications, 1, user=user)
        PUSH_NOTIFICATIONS_SETTINGS["WP_PRIVATE_KEY"] = None
        with pytest.raises(CommandError, match="WP_PRIVATE_KEY"):
            run(self.command)

    def test_an_unconfigured_application_is_reported(self, push_notifications: Any, user: Any) -> None:
        device(push_notifications, 1, user=user, application_id="shop")
        with pytest.raises(CommandError, match="'shop'"):
            run(self.command)

    def test_another_user_model_is_refused(self, push_notifications: Any, monkeypatch: Any) -> None:
        monkeypatch.setattr("django_webpush_kit.management.importing.get_user_model", lambda: object)
        with pytest.raises(CommandError, match="another user model"):
            run(self.command)


@pytest.mark.thorough
def test_pages_are_stored_without_sending_signals(db: None, user: Any, key: VapidKey) -> None:
    told: list[Any] = []

    def receive(sender: Any, **given: Any) -> None:
        told.append(given)

    keys = new_keys()
    found = [
        ForeignSubscription(
            source=str(number), endpoint=f"{MOZILLA}/{number}", vapid_key_id=key.key_id, user_id=user.pk, **keys
        )
        for number in range(PAGE_SIZE + 3)
    ]
    subscription_created.connect(receive)
    try:
        report = import_subscriptions([*found, found[0]])
    finally:
        subscription_created.disconnect(receive)
    assert (report.imported, report.known, report.refused) == (PAGE_SIZE + 3, 1, {})
    assert subscriptions().count() == PAGE_SIZE + 3
    assert told == []


class TestOneBadRow:
    """The others are imported, and the bad one is listed."""

    @pytest.fixture
    def found(self, db: None, user: Any, key: VapidKey) -> list[ForeignSubscription]:
        return [
            ForeignSubscription(
                source=f"row {number}",
                endpoint=f"{MOZILLA}/{number}",
                vapid_key_id=key.key_id,
                user_id=user.pk,
                **new_keys(),
            )
            for number in range(5)
        ]

    @pytest.mark.parametrize("is_dry", [False, True])
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"user_id": 10**6}, "Its user does not exist."),
            ({"user_id": "nobody"}, "Its user does not exist."),
            ({"endpoint": None}, "The endpoint must be a URL."),
            ({"p256dh": 7}, "p256dh must be base64url text."),
            ({"user_agent": ["x"]}, "user_agent must be text or None, not list."),
            ({"vapid_key_id": "x" * 33}, "The database refused it (DataError)."),
            ({"problem": "It cannot be read (KeyError)."}, "It cannot be read (KeyError)."),
        ],
    )
    def test_of_each_kind(
        self, found: list[ForeignSubscription], fields: dict[str, Any], reason: str, is_dry: bool
    ) -> None:
        if reason.endswith("(DataError).") and connection.vendor == "sqlite":
            pytest.skip("SQLite stores text of any length")
        found[2] = replace(found[2], **fields)
        report = import_subscriptions(found, dry_run=is_dry)
        assert (report.imported, report.refused) == (4, {reason: ["row 2"]})
        assert subscriptions().count() == (0 if is_dry else 4)

    def test_a_visitor_registers_one_of_them_meanwhile(
        self, found: list[ForeignSubscription], make_user: Any, monkeypatch: Any
    ) -> None:
        theirs = services.subscribe(
            endpoint=found[2].endpoint, p256dh=found[2].p256dh, auth=found[2].auth, user=make_user()
        )
        monkeypatch.setattr(importing, "_known_hashes", lambda hashes: set())  # read before the visitor came
        report = import_subscriptions(found)
        assert (report.imported, report.known, report.refused) == (4, 1, {})
        assert subscriptions().get(endpoint=found[2].endpoint).user == theirs.user

    def test_an_outage_of_the_database_refuses_no_row(self, found: list[ForeignSubscription]) -> None:
        def away(execute: Any, sql: str, *args: Any) -> Any:
            if sql.startswith("INSERT"):
                raise OperationalError("The server has gone away")
            return execute(sql, *args)

        with connection.execute_wrapper(away), pytest.raises(OperationalError):
            import_subscriptions(found)

    def test_an_outage_during_a_page_with_an_invalid_row_refuses_no_row(self, found: list[ForeignSubscription]) -> None:
        inserts: list[str] = []

        def away_later(execute: Any, sql: str, *args: Any) -> Any:
            if sql.startswith("INSERT"):
                inserts.append(sql)
                raise IntegrityError("refused") if len(inserts) == 1 else OperationalError("The server has gone away")
            return execute(sql, *args)

        with connection.execute_wrapper(away_later), pytest.raises(OperationalError):
            import_subscriptions(found)

    def test_that_the_library_itself_cannot_read(
        self, push_notifications: Any, user: Any, monkeypatch: Any, caplog: Any
    ) -> None:
        devices = [device(push_notifications, number, user=user) for number in range(3)]
        read = Command.read

        def read_most(self: Any, row: Any) -> Any:
            if row.pk == devices[1].pk:
                raise KeyError("a key that the library has forgotten")
            return read(self, row)

        monkeypatch.setattr(Command, "read", read_most)
        lines = run("push_import_push_notifications").splitlines()
        assert (lines[0], lines[2]) == ("Imported: 2", "Refused: 1")
        assert lines[3] == f"  1: It cannot be read (KeyError). (WebPushDevice {devices[1].pk})"
        assert "a key that the library has forgotten" in caplog.text
