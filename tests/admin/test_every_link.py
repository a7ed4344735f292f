"""Every link and every button that a page of the admin shows works for the staff who see it."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.conf import current_key_id
from django_webpush_kit.models import (
    IdempotencyKey,
    PushBroadcast,
    PushServiceState,
    WorkerHeartbeat,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)
from tests.admin.crawler import Crawler
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db


WORDS = {
    "subscription": get_subscription_model(),
    "template": get_template_model(),
    "notification": get_notification_model(),
    "event": get_analytics_model(),
    "broadcast": PushBroadcast,
    "key": IdempotencyKey,
    "service": PushServiceState,
    "worker": WorkerHeartbeat,
}

EVERYTHING = ("view", "add", "change", "delete")

ROLES = {
    "nothing": {},
    **{f"{action} {word}": {word: (action,)} for action in EVERYTHING for word in WORDS},
    **{f"all of {word}": {word: EVERYTHING} for word in WORDS},
    "broadcasts": {"broadcast": ("add", "view")},
    "broadcasts and templates": {"broadcast": ("add", "view", "change"), "template": EVERYTHING},
    "dashboard": {"worker": ("view",), "notification": ("view",)},
    "actor": {"worker": ("view",), "service": ("change",)},
    "support": {"subscription": ("view",), "notification": ("change",)},
    "everything of ours": dict.fromkeys(WORDS, EVERYTHING),
}

FAST = ("nothing", "view subscription", "add broadcast", "broadcasts", "dashboard")


@pytest.fixture
def site(subscription):
    """A row of each kind, in states that show every button."""
    now = timezone.now()
    for language in ("", "de"):
        make_template("news", language=language, title_template="News {{ number }}")
    batch = services.broadcast("news", "all", {"number": 1}).batch
    PushBroadcast.objects.filter(batch=batch).update(
        status="running", total=3, processed=3, created_at=now - timedelta(hours=2), started_at=now - timedelta(hours=2)
    )
    PushBroadcast.objects.create(type="news", status="paused", context={"number": 2}, audience="all")
    template = get_template_model().objects.first()
    for status in ("pending", "sent", "failed"):
        row = make_notification(subscription, status, batch=batch, type="news", template=template)
        make_event(row, "clicked")
    make_notification(subscription, "failed", failure_reason="HTTP 413")
    services.send(subscription.user, "Once", idempotency_key="once")
    PushServiceState.objects.create(
        push_service="fcm.googleapis.com", vapid_key_id="", rate=950, rate_changed_at=now, permits_until=now
    )
    PushServiceState.objects.create(
        push_service="fcm.googleapis.com",
        vapid_key_id=current_key_id(),
        paused_until=now + timedelta(hours=1),
        reason="credentials: HTTP 403",
    )
    WorkerHeartbeat.objects.create(name="web1:1", command="deliver_push", is_loop=True, started_at=now, seen_at=now)


def permissions_of(role):
    return [
        Permission.objects.get(
            content_type__app_label=WORDS[word]._meta.app_label, codename=f"{action}_{WORDS[word]._meta.model_name}"
        )
        for word, actions in ROLES[role].items()
        for action in actions
    ]


def crawled(user):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(user)
    crawler = Crawler(client)
    crawler.crawl()
    return crawler


@pytest.mark.parametrize(
    "role", [role if role in FAST else pytest.param(role, marks=pytest.mark.thorough) for role in ROLES]
)
@pytest.mark.usefixtures("site")
def test_whatever_staff_see_works_for_them(role, make_user):
    user = make_user(is_staff=True)
    user.user_permissions.set(permissions_of(role))
    assert crawled(user).refused == set()


@pytest.mark.thorough
@pytest.mark.usefixtures("site")
def test_everything_works_for_superusers(make_user):
    crawler = crawled(get_user_model().objects.create_superuser("root"))
    assert crawler.refused == set()
    assert len(crawler.opened) > 60
    assert len(crawler.pressed) > 60
