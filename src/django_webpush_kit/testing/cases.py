"""A mixin for `django.test` test cases."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from django_webpush_kit.testing.messages import Outbox, outbox
from django_webpush_kit.testing.overrides import locmem_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import TestCase as _Base
else:
    _Base = object


class PushTestCaseMixin(_Base):
    """Each test starts with an empty `push_outbox`, and nothing leaves the process.

    Messages are sent at commit. A `TestCase` never commits, so wrap what sends in `with self.push_commit():`::

        class BookingTests(PushTestCaseMixin, TestCase):
            def test_confirmation(self):
                with self.push_commit():
                    self.client.post("/bookings/", {...})
                self.assertEqual(self.push_outbox[0].title, "Booked")
    """

    def setUp(self) -> None:
        """Switch to the locmem transport and immediate delivery for this test, and empty the outbox."""
        override = locmem_settings()
        override.enable()
        self.addCleanup(override.disable)
        outbox.clear()
        self.addCleanup(outbox.clear)
        super().setUp()

    @property
    def push_outbox(self) -> Outbox:
        """What has been sent in this test."""
        return outbox

    @contextmanager
    def push_commit(self) -> Iterator[None]:
        """Run the block's on_commit callbacks at its end, as a commit would. Real commits need no help."""
        capture = getattr(self, "captureOnCommitCallbacks", None)
        with capture(execute=True) if capture is not None else nullcontext():
            yield
