"""Who is meant by `to`."""

import uuid

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from django_webpush_kit.exceptions import InvalidRecipient, WebPushKitError
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.outbox import recipients
from django_webpush_kit.outbox.pages import keyset_page, parts
from django_webpush_kit.outbox.recipients import find_recipients

pytestmark = pytest.mark.django_db


@pytest.fixture
def subscriptions(make_user, make_subscription):
    """Three users, in primary key order, with two subscriptions each."""
    return [make_subscription(user) for user in [make_user() for _ in range(3)] for _ in range(2)]


@pytest.fixture
def users(subscriptions):
    return [subscription.user for subscription in subscriptions[::2]]


def meant(to, **options):
    """The subscriptions meant by `to`; each page has some, and no subscription comes twice."""
    pages = list(find_recipients(to).pages(**options))
    assert all(pages)
    found = [subscription for page in pages for subscription in page]
    assert len({one.pk for one in found}) == len(found)
    return sorted(found, key=lambda one: one.pk)


def bulk(count, user):
    """Many subscriptions of one user, quickly; they could not be sent to."""
    model = get_subscription_model()
    return model.objects.bulk_create(
        model(user=user, endpoint=f"https://example.com/{number}", endpoint_hash=uuid.uuid4().hex)
        for number in range(count)
    )


class TestOneRecipient:
    def test_a_user_means_all_their_active_subscriptions(self, users, subscriptions):
        assert meant(users[0]) == subscriptions[:2]
        subscriptions[0].is_active = False
        subscriptions[0].save()
        subscriptions[2].expiration_time = timezone.now()
        subscriptions[2].save()
        assert meant(users[0]) == [subscriptions[1]]
        assert meant(users[1]) == [subscriptions[3]]

    def test_a_lazy_request_user_is_a_user(self, users, subscriptions):
        assert meant(SimpleLazyObject(lambda: users[1])) == subscriptions[2:4]

    def test_a_subscription_means_itself_as_long_as_it_is_active(self, subscriptions, make_subscription):
        assert meant(subscriptions[4]) == [subscriptions[4]]
        anonymous = make_subscription()
        assert meant(anonymous) == [anonymous]
        assert meant(make_subscription(is_active=False, deactivated_at=timezone.now())) == []

    def test_a_user_without_subscriptions_means_nobody(self, user):
        assert meant(user) == []

    @pytest.mark.parametrize(
        ("make", "found"),
        [
            (lambda user: None, "NoneType"),
            (lambda user: AnonymousUser(), "AnonymousUser"),
            (lambda user: SimpleLazyObject(AnonymousUser), "AnonymousUser"),
            (lambda user: user.username, "str"),
            (lambda user: b"x", "bytes"),
            (lambda user: user.pk, "int"),
            (lambda user: {"user": user}, "dict"),
            (lambda user: type(user)(username="new"), "an unsaved User"),
            (lambda user: type(user)(pk=user.pk), "an unsaved User"),
            (lambda user: get_subscription_model()(user=user), "an unsaved "),
            (lambda user: Group.objects.create(name="staff"), "a Group object"),
            (lambda user: Group.objects.all(), "a queryset of Group"),
            (lambda user: type(user).objects, "UserManager"),
            (lambda user: [user, None], "NoneType"),
            (lambda user: (one for one in [user, "x"]), "str"),
        ],
    )
    def test_anything_else_is_an_error_that_names_its_type(self, user, make, found):
        with pytest.raises(
            InvalidRecipient, match=f"`to` must be a saved user, a subscription, .* not {found}"
        ) as refusal:
            meant(make(user))
        assert isinstance(refusal.value, WebPushKitError)
        assert isinstance(refusal.value, TypeError)


class TestManyRecipients:
    @pytest.mark.parametrize("collection", [list, tuple, iter, lambda items: (item for item in items)])
    def test_iterables_may_mix_users_and_subscriptions_and_repeat_them(self, users, subscriptions, collection):
        anyone = [users[0], subscriptions[0], subscriptions[4], users[0], subscriptions[4]]
        assert meant(collection(anyone)) == [*subscriptions[:2], subscriptions[4]]

    def test_an_iterable_of_one_kind(self, users, subscriptions):
        assert meant(users) == subscriptions
        assert meant(set(users[:2])) == subscriptions[:4]
        assert meant(subscriptions[::2]) == subscriptions[::2]
        assert meant([]) == []

    def test_repeats_are_noticed_across_the_pages_of_an_iterable(self, users, subscriptions, monkeypatch):
        monkeypatch.setattr(recipients, "PAGE_SIZE", 2)
        assert meant([*subscriptions, *users]) == subscriptions

    def test_querysets_of_users_and_of_subscriptions(self, users, subscriptions):
        everybody = type(users[0]).objects.all()
        assert meant(everybody) == subscriptions
        assert meant(everybody.filter(pk=users[2].pk)) == subscriptions[4:]
        assert meant(everybody.order_by("-username").values_list("username")) == subscriptions
        assert meant(get_subscription_model().objects.exclude(pk=subscriptions[0].pk)) == subscriptions[1:]
        assert meant(everybody.none()) == []

    def test_a_queryset_with_joins_means_each_subscription_once(self, users, subscriptions):
        for name in ("a", "b"):
            Group.objects.create(name=name).user_set.add(*users)
        joined = type(users[0]).objects.filter(groups__name__in=["a", "b"])
        assert joined.count() == 6
        assert meant(joined) == subscriptions
        rows = get_subscription_model().objects.filter(user__groups__name__in=["a", "b"])
        assert meant(rows) == subscriptions
        assert [row for part in parts(rows, size=3) for row in part.subscriptions] == subscriptions

    def test_sliced_and_combined_querysets(self, users, subscriptions, monkeypatch):
        monkeypatch.setattr(recipients, "PAGE_SIZE", 2)
        people, rows = type(users[0]).objects, get_subscription_model().objects
        assert meant(people.order_by("-pk")[:2]) == subscriptions[2:]
        assert meant(rows.order_by("pk")[1:4]) == subscriptions[1:4]
        assert meant(people.filter(pk=users[0].pk).union(people.filter(pk=users[1].pk))) == subscriptions[:4]
        assert meant(people.filter(pk=users[0].pk) | people.filter(pk=users[1].pk)) == subscriptions[:4]
        assert meant(rows.filter(pk=subscriptions[0].pk).union(rows.all(), all=True)) == subscriptions

    def test_a_raw_queryset_is_an_iterable(self, users, subscriptions):
        table = users[0]._meta.db_table
        assert meant(type(users[0]).objects.raw(f"SELECT * FROM {table}")) == subscriptions  # no input

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has DISTINCT ON")
    def test_distinct_on_keeps_the_rows_it_chose(self, subscriptions):
        newest = get_subscription_model().objects.order_by("user", "-pk").distinct("user")
        assert meant(newest) == subscriptions[1::2]

    def test_a_queryset_bound_to_the_outbox_database(self, users, subscriptions):
        assert meant(type(users[0]).objects.using("default")) == subscriptions


class TestPages:
    """Memory and queries."""

    def test_querysets_are_read_in_keyset_pages(self, user):
        rows = bulk(1234, user)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            sizes = [len(page) for page in find_recipients(type(user).objects.all()).pages()]
        assert sizes == [500, 500, 234]
        assert len(queries) == len(sizes) + 1
        assert all("OFFSET" not in query["sql"] for query in queries)
        assert sum(sizes) == len(rows)

    @pytest.mark.thorough
    def test_pages_are_not_read_ahead(self, user):
        bulk(1001, user)
        pages = find_recipients(user).pages()
        with CaptureQueriesContext(connection) as queries:
            next(pages)
        assert len(queries) == 1

    def test_a_page_can_start_behind_a_key(self, user):
        bulk(5, user)
        # MySQL tells no keys of a bulk insert
        keys = sorted(get_subscription_model().objects.values_list("pk", flat=True))
        everybody = get_subscription_model().objects.all()
        assert [row.pk for row in keyset_page(everybody, after=keys[1], size=2)] == keys[2:4]

    def test_users_can_be_fetched_with_their_subscriptions(self, users, subscriptions):
        with CaptureQueriesContext(connection) as queries:
            names = [one.user.username for one in meant(users, with_users=True)]
        assert len(names) == len(subscriptions)
        assert len(queries) == 2
