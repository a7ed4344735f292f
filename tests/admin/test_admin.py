"""The admin pages, as staff with and without permissions see them."""

import uuid
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from django_webpush_kit import models
from django_webpush_kit.admin import PushNotificationAdmin, reading
from django_webpush_kit.admin.subscriptions import PushServiceFilter
from django_webpush_kit.models import IdempotencyKey, PushBroadcast, PushServiceState
from django_webpush_kit.protocol.endpoints import push_service
from django_webpush_kit.services import send
from tests.factories import make_event, make_notification, make_template

pytestmark = pytest.mark.django_db


def url_of(model, page, *arguments):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def choose(client, action, *rows, query="", **fields):
    """Choose an admin action for rows of a list, and return the page that comes."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    return client.post(url_of(type(rows[0]), "changelist") + query, data, follow=True)


def confirm(client, page):
    """Press the button of a confirmation page, and return the page that comes."""
    fields = {}
    for name, value in page.context["fields"]:
        fields.setdefault(name, []).append(value)
    return client.post(page.request["PATH_INFO"] + "?" + page.request["QUERY_STRING"], fields, follow=True)


def messages_of(page):
    return [str(message) for message in page.context["messages"]]


def act(client, action, *rows):
    """Run an admin action on rows, confirm it if asked, and return the messages that come."""
    page = choose(client, action, *rows)
    return messages_of(confirm(client, page) if "question" in page.context else page)


@pytest.fixture
def rows(subscription):
    """One row of each of the seven models."""
    notification = make_notification(subscription, title="Hello & welcome", type="news")
    return {
        "subscription": subscription,
        "template": make_template(),
        "notification": notification,
        "event": make_event(notification, "clicked"),
        "broadcast": PushBroadcast.objects.create(type="news", total=10, queued=4, suppressed=1),
        "key": IdempotencyKey.objects.create(key_hash=IdempotencyKey.hash_of("order-7"), batch=uuid.uuid4()),
        "state": PushServiceState.objects.create(push_service="push.example.com", reason="throttled"),
    }


class TestLists:
    def test_all_lists_and_pages_open(self, admin_client, rows):
        for row in rows.values():
            for url in (url_of(type(row), "changelist"), url_of(type(row), "change", row.pk)):
                assert admin_client.get(url).status_code == 200, url

    def test_only_templates_are_editable_and_only_broadcasts_can_be_added(self, admin_client, rows):
        for name, row in rows.items():
            added = admin_client.get(url_of(type(row), "add"))
            page = admin_client.get(url_of(type(row), "change", row.pk))
            assert (added.status_code == 200) is (name in ("template", "broadcast"))
            assert (b'name="_save"' in page.content) is (name == "template")

    def test_no_page_shows_keys_or_full_endpoints(self, admin_client, rows):
        subscription = rows["subscription"]
        for row in rows.values():
            for url in (url_of(type(row), "changelist"), url_of(type(row), "change", row.pk)):
                page = admin_client.get(url).content.decode()
                for secret in (subscription.endpoint, subscription.p256dh_key, subscription.auth_key):
                    assert secret not in page
        page = admin_client.get(url_of(type(subscription), "change", subscription.pk)).content.decode()
        assert f"https://updates.push.services.mozilla.com/…{subscription.endpoint[-12:]}" in page

    @pytest.mark.parametrize("name", ["subscription", "notification"])
    @pytest.mark.parametrize(("query", "is_found"), [("ada", True), ("ada@example.com", True), ("bob", False)])
    def test_search_finds_rows_by_user(self, admin_client, rows, name, query, is_found):
        response = admin_client.get(url_of(type(rows[name]), "changelist"), {"q": query})
        assert (rows[name] in response.context["cl"].result_list) is is_found

    @pytest.mark.parametrize(("query", "is_found"), [("order-7", True), ("order", False)])
    def test_search_finds_an_idempotency_key_by_its_full_text(self, admin_client, rows, query, is_found):
        response = admin_client.get(url_of(type(rows["key"]), "changelist"), {"q": query})
        assert "sends only once, however often it runs" in response.content.decode()
        assert (rows["key"] in response.context["cl"].result_list) is is_found

    def test_lanes_are_explained_where_they_are_shown(self, admin_client, rows):
        model = type(rows["notification"])
        assert "lane (order of sending)" in admin_client.get(url_of(model, "changelist")).content.decode()
        page = admin_client.get(url_of(model, "change", rows["notification"].pk)).content.decode()
        assert "A message is isolated, and sent alone, after workers died" in page

    def test_lists_can_be_filtered_by_type_and_push_service(self, admin_client, rows, push_settings):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "The news"}})
        url = url_of(type(rows["notification"]), "changelist")
        page = admin_client.get(url)
        cell = '<td class="field-type_label">The news</td>'
        assert cell in page.content.decode(), "the column shows what the filter shows"
        assert b"order_shipped" in page.content  # there is a template of this type
        assert list(admin_client.get(url, {"type": "news"}).context["cl"].result_list) == [rows["notification"]]
        assert list(admin_client.get(url, {"type": "order_shipped"}).context["cl"].result_list) == []
        url = url_of(type(rows["subscription"]), "changelist")
        found = admin_client.get(url, {"service": "updates.push.services.mozilla.com"}).context["cl"].result_list
        assert list(found) == [rows["subscription"]]
        assert list(admin_client.get(url, {"service": "fcm.googleapis.com"}).context["cl"].result_list) == []

    def test_the_list_of_templates_shows_labels_of_types(self, admin_client, push_settings):
        push_settings(NOTIFICATION_TYPES={"news": {"label": "The news"}})
        template = make_template("news")
        page = admin_client.get(url_of(type(template), "changelist")).content.decode()
        assert ">The news</a>" in page

    def test_the_push_service_filter_offers_the_names_stored_in_subscriptions(self):
        chosen = {name for name, _label in PushServiceFilter.lookups(None, None, None)}
        endpoints = (
            "https://fcm.googleapis.com/fcm/send/x",
            "https://updates.push.services.mozilla.com/wpush/v2/x",
            "https://web.push.apple.com/x",
            "https://db5p.notify.windows.com/w/?token=x",
        )
        assert chosen == {push_service(endpoint) for endpoint in endpoints}

    def test_the_number_of_queries_does_not_grow_with_the_rows(self, admin_client, rows, django_assert_max_num_queries):
        for _ in range(20):
            make_notification(rows["subscription"])
        with django_assert_max_num_queries(8 + own_filters()):
            admin_client.get(url_of(type(rows["notification"]), "changelist"))

    def test_counting_stops_at_a_limit(self, monkeypatch, rows):
        monkeypatch.setattr(reading, "COUNT_LIMIT", 2)
        for _ in range(3):
            make_notification(rows["subscription"])
        queryset = models.get_notification_model().objects.order_by("-pk")
        for rows_of_list, has_more in ((queryset, True), ([1, 2, 3], True), ([1, 2], False)):
            paginator = reading.BoundedPaginator(rows_of_list, 50)
            assert (paginator.count, paginator.has_more) == (2, has_more)

    def test_the_notification_page_shows_its_events(self, admin_client, rows):
        make_event(rows["notification"], "action_clicked", "rate-it")
        page = admin_client.get(url_of(type(rows["notification"]), "change", rows["notification"].pk)).content.decode()
        assert "rate-it" in page
        assert "Hello &amp; welcome" in page


def own_filters():
    """How many filters the project's own admin of notifications adds; each asks for the values there are."""
    registered = admin.site.get_model_admin(models.get_notification_model())
    return len(registered.list_filter) - len(PushNotificationAdmin.list_filter)


class TestActions:
    def test_only_pending_notifications_are_cancelled(self, admin_client, rows):
        pending = make_notification(rows["subscription"], "pending")
        assert act(admin_client, "cancel", pending, rows["notification"]) == ["1 notification was cancelled."]
        pending.refresh_from_db()
        rows["notification"].refresh_from_db()
        assert (pending.status, rows["notification"].status) == ("cancelled", "sent")
        assert act(admin_client, "cancel", pending) == ["0 notifications were cancelled."]

    def test_subscriptions_are_deactivated_with_a_reason(self, admin_client, rows):
        subscription = rows["subscription"]
        assert act(admin_client, "deactivate", subscription) == ["1 subscription was deactivated."]
        subscription.refresh_from_db()
        assert (subscription.is_active, subscription.deactivation_reason) == (False, "deactivated in the admin")

    def test_a_test_notification_ignores_preferences_but_not_inactive_subscriptions(
        self, admin_client, rows, make_subscription, user
    ):
        subscription, gone = rows["subscription"], make_subscription(user)
        type(gone).objects.filter(pk=gone.pk).update(is_active=False, deactivated_at=timezone.now())
        assert act(admin_client, "send_test", subscription, gone) == ["1 test notification was queued."]
        row = models.get_notification_model().objects.get(title="Test notification")
        assert (row.subscription, row.status) == (subscription, "pending")
        assert act(admin_client, "send_test", gone) == ["0 test notifications were queued."]

    def test_a_pause_can_be_ended(self, admin_client):
        state = PushServiceState.objects.create(
            push_service="push.example.com",
            reason="throttled",
            paused_until=timezone.now() + timedelta(hours=1),
            rate=900,
            paused_by_hand_at=timezone.now(),
        )
        assert act(admin_client, "try_again", state) == ["1 pause was ended."]
        assert act(admin_client, "try_again", state) == ["0 pauses were ended."]
        state.refresh_from_db()
        assert (state.paused_until, state.rate) == (None, 900)
        assert state.paused_by_hand_at, "what an operator has paused is another matter"

    def test_the_learned_rate_of_a_push_service_is_shown(self, admin_client):
        now = timezone.now()
        PushServiceState.objects.create(push_service="a.example.com", rate=950, rate_changed_at=now)
        PushServiceState.objects.create(
            push_service="b.example.com", rate=777, rate_changed_at=now - timedelta(hours=7)
        )
        page = admin_client.get(url_of(PushServiceState, "changelist")).content.decode()
        assert ">950<" in page
        assert "777" not in page, "it is forgotten"


def permit(user, model, *actions):
    for name in actions:
        user.user_permissions.add(
            Permission.objects.get(
                content_type__app_label=model._meta.app_label, codename=f"{name}_{model._meta.model_name}"
            )
        )


@pytest.fixture
def staff(client, make_user):
    user = make_user(is_staff=True)
    client.force_login(user)
    return user


class TestPermissions:
    def test_view_allows_no_actions(self, client, staff, rows):
        model = models.get_notification_model()
        permit(staff, model, "view")
        page = client.get(url_of(model, "changelist"))
        assert page.status_code == 200
        assert b'value="cancel"' not in page.content
        pending = make_notification(rows["subscription"], "pending")
        act_data = {"action": "cancel", "_selected_action": [pending.pk]}
        client.post(url_of(model, "changelist"), act_data)
        pending.refresh_from_db()
        assert pending.status == "pending"

    def test_change_allows_viewing_and_actions(self, client, staff, rows):
        model = models.get_notification_model()
        permit(staff, model, "change")
        assert b'value="cancel"' in client.get(url_of(model, "changelist")).content
        pending = make_notification(rows["subscription"], "pending")
        assert act(client, "cancel", pending) == ["1 notification was cancelled."]

    def test_without_one_nothing_is_visible(self, client, staff, rows):
        for row in rows.values():
            assert client.get(url_of(type(row), "changelist")).status_code == 403


def template_form(**values):
    return {
        "type": "order_shipped",
        "language": "",
        "title_template": "Order {{ number }}",
        "body_template": "",
        "url_template": "",
        "icon_template": "",
        "vibrate_pattern": "[]",
        "actions": "[]",
        "options": "{}",
        **values,
    }


class TestTemplates:
    def test_a_template_is_saved_and_previewed(self, admin_client):
        model = models.get_template_model()
        values = template_form(
            body_template="For {{ recipient.first_name }} <b>",
            actions='[{"action": "track", "title": "Track {{ number }}"}]',
        )
        response = admin_client.post(url_of(model, "add"), values)
        assert response.status_code == 302
        page = admin_client.get(url_of(model, "change", model.objects.get().pk)).content.decode()
        assert "<strong>Order [number]</strong>" in page
        assert "For [recipient.first_name] &lt;b&gt;" in page
        assert ">Track [number]</span>" in page

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("title_template", "{{ }}", "Empty variable tag"),
            ("body_template", "{% debug %}", "debug"),
            ("actions", '[{"title": "x"}]', "action"),
            ("options", '{"colour": "red"}', "colour"),
        ],
    )
    def test_a_template_that_cannot_be_rendered_is_not_saved(self, admin_client, field, value, words):
        model = models.get_template_model()
        response = admin_client.post(url_of(model, "add"), template_form(**{field: value}))
        assert field in response.context["adminform"].form.errors
        assert words in str(response.context["adminform"].form.errors[field])
        assert not model.objects.exists()

    def test_a_broken_stored_template_shows_its_errors(self, admin_client):
        row = make_template(title_template="{% debug %}")
        page = admin_client.get(url_of(type(row), "change", row.pk)).content.decode()
        assert "Invalid block tag" in page


def test_users_with_subscriptions_can_be_deleted_in_the_admin(admin_client, rows, user):
    send(rows["subscription"], "x")
    response = admin_client.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})
    assert response.status_code == 302
    assert not models.get_subscription_model().objects.exists()
