"""Tokens of notifications, and the identity that they and payloads carry."""

from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from django.core.signing import TimestampSigner
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.tokens import EVENT_SALT, NotificationIdentity, read_notification_token, sign_notification

DAY = timedelta(days=1)
ROW = SimpleNamespace(pk=7, batch=UUID("7c1c1a53-9b0e-4a55-9e0b-6a3f0a1b2c3d"))


def test_its_signatures_are_those_of_djangos_own_signer():
    identity = NotificationIdentity.of(ROW)

    assert TimestampSigner(salt=EVENT_SALT).unsign(sign_notification(ROW)) == str(identity)
    assert read_notification_token(TimestampSigner(salt=EVENT_SALT).sign(str(identity)), max_age=DAY) == identity


def test_a_token_made_under_an_older_secret_key_is_still_read():
    with override_settings(SECRET_KEY="older"):
        token = sign_notification(ROW)

    with override_settings(SECRET_KEY="newer"):
        assert read_notification_token(token, max_age=DAY) is None
    with override_settings(SECRET_KEY="newer", SECRET_KEY_FALLBACKS=["older"]):
        assert read_notification_token(token, max_age=DAY) == NotificationIdentity.of(ROW)


def test_identities_are_short_and_differ_between_databases():
    assert str(NotificationIdentity.of(ROW)) == "7.fBwaU5sOSlWeC2o_ChssPQ"
    assert str(NotificationIdentity("7", uuid4())) != str(NotificationIdentity("7", uuid4()))


@given(st.integers() | st.uuids() | st.text(max_size=10), st.uuids())
def test_an_identity_is_read_back(key, batch):
    assert NotificationIdentity.parse(str(NotificationIdentity(str(key), batch))) == (str(key), batch)


@pytest.mark.parametrize("text", ["", "7", "7.", "7.short", "7.ümlaut", f"7.{'x' * 23}", f"7.{'x' * 40}"])
def test_other_text_is_not_an_identity(text):
    assert NotificationIdentity.parse(text) is None
    signed = TimestampSigner(salt=EVENT_SALT).sign(text)
    assert read_notification_token(signed, max_age=DAY) is None
