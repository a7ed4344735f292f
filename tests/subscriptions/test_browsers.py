"""Validation of the values that a browser or the project passes to `services.subscribe`."""

from datetime import datetime
from datetime import timezone as datetime_timezone

import pytest

from django_webpush_kit import services
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.models import get_subscription_model
from tests.conftest import new_keys

pytestmark = pytest.mark.django_db

UTC = datetime_timezone.utc

ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/abc"


class TestValuesOfSubscribe:
    """Each value is stored, or refused by an error that names the field."""

    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            ("user_agent", None, ""),
            ("user_agent", "Browser\x00/1\ud800", "Browser/1?"),
            ("language", None, ""),
            ("language", "pt_BR", "pt-br"),
            ("language", "zh-Hant-TW", "zh-hant-tw"),
            ("language", "es-419", "es-419"),
            ("language", "sl-rozaj-biske", "sl-rozaj-biske"),
            ("language", "haw", "haw"),
            ("language", "", ""),
            ("timezone", None, ""),
            ("timezone", "Europe/Berlin", "Europe/Berlin"),
            ("ip_address", None, None),
            ("ip_address", "", None),
            ("ip_address", "2001:DB8::1", "2001:db8::1"),
            ("ip_address", "fe80::1%eth0", "fe80::1"),
            ("expiration_time", None, None),
            ("expiration_time", 4_000_000_000_000, datetime(2096, 10, 2, 7, 6, 40, tzinfo=UTC)),
            ("expiration_time", 4_000_000_000_000.0, datetime(2096, 10, 2, 7, 6, 40, tzinfo=UTC)),
        ],
    )
    def test_valid_values_are_stored(self, name, value, stored):
        row = services.subscribe(endpoint=ENDPOINT, **new_keys(), **{name: value})
        row.refresh_from_db()
        assert getattr(row, name) == stored

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("user_agent", 7),
            ("user_agent", ["x"]),
            ("language", "xx-nonsense"),
            ("language", "de\x00-"),
            ("language", "../de"),
            ("language", "x" * 36),
            ("language", "ä"),
            ("language", 5),
            ("timezone", "Mars/Olympus"),
            ("timezone", 2),
            ("ip_address", "nowhere"),
            ("ip_address", "203.0.113.7:80"),
            ("expiration_time", datetime(2096, 10, 2)),  # noqa: DTZ001  # a naive one is refused
            ("expiration_time", datetime(2020, 1, 1, tzinfo=UTC)),
            ("expiration_time", 0),
            ("expiration_time", -1),
            ("expiration_time", True),
            ("expiration_time", float("nan")),
            ("expiration_time", float("inf")),
            ("expiration_time", 10**30),
            ("expiration_time", "2096-10-02"),
            ("preferences", []),
            ("preferences", {"x": 1}),
            ("endpoint", None),
            ("endpoint", 7),
            ("p256dh", None),
            ("auth", b"x"),
            ("user", "ada"),
        ],
    )
    def test_invalid_values_are_refused(self, name, value):
        with pytest.raises(InvalidSubscription) as refusal:
            services.subscribe(**{"endpoint": ENDPOINT, **new_keys(), name: value})
        assert refusal.value.field == name
        assert name in str(refusal.value)
        assert not get_subscription_model().objects.exists()

    def test_languages_of_the_site_are_valid(self, settings):
        settings.LANGUAGES = [("xx-nonsense", "Nonsense")]
        row = services.subscribe(endpoint=ENDPOINT, **new_keys(), language="xx-Nonsense")
        assert row.language == "xx-nonsense"
