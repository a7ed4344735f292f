"""A mixin for `django.test` test cases."""

from __future__ import annotations

import secrets
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django_webpush_kit.testing.messages import Outbox, outbox
from django_webpush_kit.testing.overrides import locmem_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from unittest import TestResult

    from django.test import TestCase as _Base
else:
    _Base = object


class PushTestCaseMixin(_Base):
    """Each test starts with an empty `push_outbox`. No message leaves the process.

    Messages are sent at commit. A `TestCase` never commits, so wrap the code under test in `with self.push_commit():`::

        class BookingTests(PushTestCaseMixin, TestCase):
            def test_confirmation(self):
                self.push_subscribe(self.user)
                with self.push_commit():
                    self.client.post("/bookings/", {...})
                self.assertEqual(self.push_outbox[0].title, "Booked")
    """

    def run(self, result: TestResult | None = None) -> TestResult | None:
        """Run the test, including `setUp`, with the locmem transport, immediate delivery and an empty outbox."""
        outbox.clear()
        try:
            with locmem_settings():
                return super().run(result)
        finally:
            outbox.clear()

    @property
    def push_outbox(self) -> Outbox:
        """The messages sent in this test."""
        return outbox

    def push_subscribe(self, user: Any = None, **fields: Any) -> Any:
        """Store a subscription for `user` with generated keys, and return it.

        `fields` are keyword arguments of `services.subscribe`, such as `language="de"`. To decrypt messages, use
        `FakeBrowser` instead.
        """
        from django_webpush_kit.services import subscribe
        from django_webpush_kit.testing.fake_browser import new_keys

        endpoint = f"https://updates.push.services.mozilla.com/wpush/v2/{secrets.token_urlsafe(16)}"
        return subscribe(user=user, **{"endpoint": endpoint, **new_keys(), **fields})

    @contextmanager
    def push_commit(self) -> Iterator[None]:
        """Run the block's on_commit callbacks at its end. A `TransactionTestCase` does not need it."""
        capture = getattr(self, "captureOnCommitCallbacks", None)
        with capture(execute=True) if capture is not None else nullcontext():
            yield
