"""The pages that ask before rows are deleted: they count what goes along, and ask for the permissions to delete it."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.db.models.signals import post_delete

from django_webpush_kit.models import get_analytics_model, get_notification_model, get_subscription_model
from tests.admin.test_admin import url_of
from tests.factories import make_event, make_notification

pytestmark = pytest.mark.django_db


@pytest.fixture
def notifications(subscription):
    found = [make_notification(subscription, title=f"Letter {number}") for number in range(3)]
    for notification in found:
        make_event(notification, "delivered")
        make_event(notification, "clicked")
    return found


@pytest.fixture
def url(subscription):
    return url_of(type(subscription), "delete", subscription.pk)


@pytest.fixture
def staff(client, django_user_model):
    user = django_user_model.objects.create_user("staff", password="x", is_staff=True)
    client.force_login(user)
    return user


def allow(user, *models):
    names = [f"{action}_{model._meta.model_name}" for model in models for action in ("view", "delete")]
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))


def counts_of(page):
    return {str(name): count for name, count in page.context["model_count"]}


def names_of(*models):
    return [str(model._meta.verbose_name_plural) for model in models]


def test_what_goes_along_is_counted_but_not_listed(admin_client, subscription, notifications, url):
    page = admin_client.get(url)
    models = (type(subscription), get_notification_model(), get_analytics_model())
    assert counts_of(page) == dict(zip(names_of(*models), (1, 3, 6), strict=True))
    assert f'href="{url_of(type(subscription), "change", subscription.pk)}"' in page.content.decode()
    assert "Letter" not in page.content.decode()


def test_the_number_of_queries_does_not_depend_on_the_rows(
    admin_client, subscription, notifications, url, django_assert_max_num_queries
):
    for number in range(50):
        make_event(make_notification(subscription, title=str(number)), "delivered")
    with django_assert_max_num_queries(12):
        assert admin_client.get(url).status_code == 200


def test_it_needs_the_permission_for_each_model(client, staff, subscription, notifications, url):
    allow(staff, type(subscription), get_notification_model())
    page = client.get(url)
    assert [str(name) for name in page.context["perms_lacking"]] == [str(get_analytics_model()._meta.verbose_name)]
    assert client.post(url, {"post": "yes"}).status_code == 403
    allow(staff, get_analytics_model())
    assert not client.get(url).context["perms_lacking"]
    assert client.post(url, {"post": "yes"}).status_code == 302
    assert not get_subscription_model().objects.exists()


def test_an_admin_with_a_rule_of_its_own_is_asked_about_each_row(
    admin_client, subscription, notifications, url, monkeypatch
):
    asked = []

    def rule(_self, request, obj=None):
        asked.append(obj)
        return obj is None or not obj.title.endswith("2")

    own = admin.site.get_model_admin(get_notification_model())
    monkeypatch.setattr(type(own), "has_delete_permission", rule)
    assert admin_client.post(url, {"post": "yes"}).status_code == 403
    # it is asked until it refuses; the database may return the rows in any order
    assert any(row.title.endswith("2") for row in asked if row is not None)


def test_receivers_of_deletions_change_nothing_of_the_page(admin_client, subscription, notifications, url):
    def receiver(**_keywords):
        pass

    before = counts_of(admin_client.get(url))
    post_delete.connect(receiver)
    try:
        assert counts_of(admin_client.get(url)) == before
    finally:
        post_delete.disconnect(receiver)
