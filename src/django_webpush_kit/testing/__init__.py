"""Test helpers: an outbox of sent messages, a strict fake push service, and a fake browser that decrypts messages.

Names are imported on first use. The pytest plugin imports this package in every project that has it installed, so the
import must be fast and work without configured settings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_webpush_kit.testing.cases import PushTestCaseMixin
    from django_webpush_kit.testing.fake_browser import EventReport, FakeBrowser, ShownNotification
    from django_webpush_kit.testing.fake_push_service import FakePushService, Fault, ReceivedRequest
    from django_webpush_kit.testing.messages import SentMessage, outbox

__all__ = [
    "EventReport",
    "FakeBrowser",
    "FakePushService",
    "Fault",
    "PushTestCaseMixin",
    "ReceivedRequest",
    "SentMessage",
    "ShownNotification",
    "outbox",
]

_MODULES = {
    "EventReport": "fake_browser",
    "FakeBrowser": "fake_browser",
    "FakePushService": "fake_push_service",
    "Fault": "fake_push_service",
    "PushTestCaseMixin": "cases",
    "ReceivedRequest": "fake_push_service",
    "SentMessage": "messages",
    "ShownNotification": "fake_browser",
    "outbox": "messages",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
