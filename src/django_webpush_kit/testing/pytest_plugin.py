"""Fixtures for pytest. Django is imported only if a test uses one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_webpush_kit.testing.fake_browser import FakeBrowser
    from django_webpush_kit.testing.fake_push_service import FakePushService
    from django_webpush_kit.testing.messages import Outbox


@pytest.fixture
def push_outbox() -> Iterator[Outbox]:
    """The messages sent in this test. No message leaves the process.

    Messages are sent at commit. With pytest-django, use `django_capture_on_commit_callbacks(execute=True)` or a
    transactional database.
    """
    from django_webpush_kit.testing.messages import outbox
    from django_webpush_kit.testing.overrides import locmem_settings

    with locmem_settings():
        outbox.clear()
        yield outbox
        outbox.clear()


@pytest.fixture
def fake_push_service() -> Iterator[FakePushService]:
    """A running `FakePushService`, and settings that allow sending to it over the network."""
    from django_webpush_kit.testing.fake_push_service import FakePushService
    from django_webpush_kit.testing.overrides import loopback_settings

    with FakePushService() as service, loopback_settings():
        yield service


@pytest.fixture
def fake_browser(fake_push_service: FakePushService) -> Callable[..., FakeBrowser]:
    """Create browsers for the fake push service. `fake_browser()` uses the VAPID key of the settings.

    Keyword arguments are those of `FakeBrowser`. `client=` is the Django test client that sends its events.
    """
    from django_webpush_kit.conf import vapid_keyring
    from django_webpush_kit.testing.fake_browser import FakeBrowser

    def make(application_server_key: str | None = None, **options: Any) -> FakeBrowser:
        key = application_server_key or vapid_keyring().current.public_key
        return FakeBrowser(fake_push_service, key, **options)

    return make
