from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import TestCase, TransactionTestCase, override_settings

from django_webpush_kit import services
from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.protocol.vapid import generate_vapid_keys
from django_webpush_kit.testing import FakeBrowser, FakePushService, PushTestCaseMixin, outbox

ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/x"


def subscribe():
    with FakePushService() as service:
        browser = FakeBrowser(service)
        browser.subscribe()
        return services.subscribe(**{**browser.subscription_fields, "endpoint": ENDPOINT})


class OwnSetUpTests(PushTestCaseMixin, TestCase):
    def setUp(self):
        """Forget to call the mixin's setUp: nothing may leave the process all the same."""
        self.subscription = self.push_subscribe()

    def test_messages_stay_in_the_process(self):
        with self.push_commit():
            services.send(self.subscription, "Booked")
        assert [message.title for message in self.push_outbox] == ["Booked"]


class MixinTests(PushTestCaseMixin, TestCase):
    def test_messages_are_sent_at_commit(self):
        subscription = subscribe()
        with self.push_commit():
            services.send(subscription, "Booked")
            assert len(self.push_outbox) == 0
        assert [message.title for message in self.push_outbox] == ["Booked"]

    def test_a_users_browser_subscribes(self):
        user = get_user_model().objects.create_user("ada")
        subscription = self.push_subscribe(user, language="de")
        assert (subscription.user, subscription.language) == (user, "de")
        with self.push_commit():
            services.send(user, "Booked")
        assert [message.title for message in self.push_outbox] == ["Booked"]

    def test_each_test_starts_with_an_empty_outbox(self):
        assert self.push_outbox == []
        with self.push_commit():
            services.send(subscribe(), "Booked")
        assert len(outbox) == 1

    def test_only_transport_and_task_backend_settings_are_replaced(self):
        before = settings.WEBPUSH_KIT
        assert before["TRANSPORT"] == "django_webpush_kit.transports.LocmemTransport"
        assert before["TASK_BACKEND"] == "django_webpush_kit.task_backends.ImmediateBackend"
        assert kit_settings.VAPID_SUBJECT == "mailto:ops@example.com"


class CommittingTests(PushTestCaseMixin, TransactionTestCase):
    def test_real_commits_need_no_help(self):
        subscription = subscribe()
        with self.push_commit():
            services.send(subscription, "Booked")
            assert len(self.push_outbox) == 1


@override_settings(
    WEBPUSH_KIT={"VAPID_PRIVATE_KEY": "/nowhere/vapid.pem", "VAPID_FALLBACK_PRIVATE_KEYS": ["/nowhere/old.pem"]}
)
class HostWithoutKeyFilesTests(PushTestCaseMixin, TestCase):
    def test_a_throwaway_key_is_used(self):
        assert len(vapid_keyring().current.public_key) == 87
        with self.push_commit():
            services.send(subscribe(), "Booked")
        assert len(self.push_outbox) == 1


@override_settings(WEBPUSH_KIT={"VAPID_PUBLIC_KEY": generate_vapid_keys()["public_key"]})
class HostWithoutKeysTests(PushTestCaseMixin, TestCase):
    def test_a_throwaway_key_is_used(self):
        assert len(vapid_keyring().current.public_key) == 87
        assert vapid_keyring().subject == "mailto:tests@example.com"
        assert kit_settings.VAPID_PUBLIC_KEY == ""
        with self.push_commit():
            services.send(subscribe(), "Booked")
        assert len(self.push_outbox) == 1
