"""Repairs that race: the token is asked again under the lock."""

import pytest

from django_webpush_kit.exceptions import TokenVoid
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.subscriptions.registration import BrowserSubscription, ByToken, register
from django_webpush_kit.tokens import read_subscription_token, sign_subscription

pytestmark = pytest.mark.django_db


def browser_of(subscription):
    return BrowserSubscription.check(
        endpoint=subscription.endpoint, p256dh=subscription.p256dh_key, auth=subscription.auth_key
    )


def test_a_token_that_was_replaced_since_it_was_read_repairs_nothing(subscription):
    claim = read_subscription_token(sign_subscription(subscription))
    assert register(browser_of(subscription), ByToken(claim)).subscription.pk == subscription.pk
    with pytest.raises(TokenVoid):
        register(browser_of(subscription), ByToken(claim))


def test_a_token_of_a_subscription_that_is_gone_repairs_nothing(subscription):
    claim = read_subscription_token(sign_subscription(subscription))
    browser = browser_of(subscription)
    get_subscription_model().objects.all().delete()
    with pytest.raises(TokenVoid):
        register(browser, ByToken(claim))
