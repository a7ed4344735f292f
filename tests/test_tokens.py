"""Tokens: what `tracking` adds to Django's own signers."""

from datetime import timedelta

from django.core.signing import TimestampSigner
from django.test import override_settings

from django_webpush_kit.tokens import EVENT_SALT, read_notification_token, sign_notification

DAY = timedelta(days=1)


def test_its_signatures_are_those_of_djangos_own_signer():
    token = sign_notification(7)

    assert TimestampSigner(salt=EVENT_SALT).unsign(token) == "7"
    assert read_notification_token(TimestampSigner(salt=EVENT_SALT).sign("7"), max_age=DAY) == "7"


def test_a_token_made_under_an_older_secret_key_is_still_read():
    with override_settings(SECRET_KEY="older"):
        token = sign_notification(7)

    with override_settings(SECRET_KEY="newer"):
        assert read_notification_token(token, max_age=DAY) is None
    with override_settings(SECRET_KEY="newer", SECRET_KEY_FALLBACKS=["older"]):
        assert read_notification_token(token, max_age=DAY) == "7"
