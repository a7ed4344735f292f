"""How many people and browsers an audience has."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from django_webpush_kit.outbox import reach
from django_webpush_kit.outbox.reach import count_reach
from django_webpush_kit.services import unsubscribe

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[2, 5000])
def _slices(request, monkeypatch):
    monkeypatch.setattr(reach, "READ_SLICE", request.param)


@pytest.mark.usefixtures("_slices")
def test_people_browsers_languages_and_services_are_counted(make_user, make_subscription, push_settings):
    ada, bob = make_user(), make_user()
    for user, language in ((ada, "de"), (ada, "DE"), (bob, ""), (None, "fr"), (None, "fr")):
        make_subscription(user, language=language)
    unsubscribe(make_subscription(bob))
    make_subscription(make_user(), preferences={"categories": {"news": False}})
    counted = count_reach("all", "news")
    assert (counted.browsers, counted.people, counted.opted_out, counted.is_partial) == (5, 4, 1, False)
    assert dict(counted.languages) == {"de": 2, "fr": 2, "": 1}
    assert dict(counted.push_services) == {"updates.push.services.mozilla.com": 5}
    assert count_reach("all", "other").browsers == 6


@pytest.mark.usefixtures("_slices")
def test_users_who_did_not_opt_in_are_counted(make_user, make_subscription, push_settings):
    make_subscription(make_user(), preferences={"categories": {"news": True}})
    make_subscription(make_user())
    assert (count_reach("opted-in", "news").browsers, count_reach("opted-in", "news").opted_out) == (1, 1)
    push_settings(NOTIFICATION_TYPES={"news": {"default": False}})
    assert (count_reach("all", "news").browsers, count_reach("all", "news").opted_out) == (1, 1)


@pytest.mark.usefixtures("_slices")
def test_a_subscription_twice_in_an_audience_counts_once(make_user, make_subscription, push_settings):
    user = make_user()
    user.groups.add(Group.objects.create(name="a"), Group.objects.create(name="b"))
    make_subscription(user)
    push_settings(AUDIENCES={"grouped": lambda: get_user_model().objects.filter(groups__isnull=False)})
    assert count_reach("grouped", "news").browsers == 1


@pytest.mark.parametrize("limit", ["READ_LIMIT", "READ_SECONDS"])
def test_a_large_audience_is_counted_in_part(make_user, make_subscription, monkeypatch, limit):
    for _ in range(3):
        make_subscription(make_user())
    monkeypatch.setattr(reach, "READ_SLICE", 2)
    monkeypatch.setattr(reach, limit, 2 if limit == "READ_LIMIT" else 0)
    counted = count_reach("all", "news")
    assert (counted.browsers, counted.is_partial) == (2, True)


def test_an_empty_audience(db):
    assert (count_reach("all", "news").browsers, count_reach("all", "news").people) == (0, 0)
