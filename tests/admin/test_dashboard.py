"""The dashboard, the panel on the first page of the admin, and the list of workers."""

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.models import Permission
from django.core.cache import caches
from django.db import OperationalError, connection
from django.template import Context, Template
from django.urls import reverse
from django.utils import timezone

from django_webpush_kit import overview
from django_webpush_kit.admin import dashboard, large_tables
from django_webpush_kit.conf import current_key_id
from django_webpush_kit.database import clock_difference, database_now
from django_webpush_kit.models import DailyStatistics, PushBroadcast, PushServiceState, WorkerHeartbeat
from django_webpush_kit.templatetags.webpush_kit_admin import code_in_backticks
from tests.factories import make_notification

pytestmark = pytest.mark.django_db

SERVICE = "updates.push.services.mozilla.com"
FCM = "fcm.googleapis.com"


@pytest.fixture
def staff(client, make_user):
    """A client of a member of staff with these permissions."""

    def sign_in(*codenames):
        user = make_user(is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return sign_in


def url():
    return reverse("admin:webpush_kit_workerheartbeat_dashboard")


def make_worker(seen=5.0, **fields):
    moment = database_now(clock_difference()) - timedelta(seconds=seen)
    given = {"name": f"web1:{WorkerHeartbeat.objects.count()}", "is_loop": True, "seen_at": moment}
    return WorkerHeartbeat.objects.create(**{**given, "started_at": moment, **fields})


@pytest.fixture
def busy(subscription):
    """A site on a bad day."""
    now = timezone.now()
    make_worker(command="deliver_push --loop", version="0.1.0", per_minute=1234.0)
    make_worker(seen=600)
    make_worker(seen=100, ended_at=now, ending="stopped by a signal")
    minute = timedelta(minutes=1)
    PushServiceState.objects.create(push_service=SERVICE, paused_until=now + minute, reason="outage: timed out")
    PushServiceState.objects.create(push_service=FCM, vapid_key_id="", rate=950, rate_changed_at=now, permits_until=now)
    PushServiceState.objects.create(
        push_service=FCM, vapid_key_id=current_key_id(), paused_until=now + minute, reason="credentials: HTTP 403"
    )
    PushServiceState.objects.create(push_service="", paused_by_hand_at=now)
    PushBroadcast.objects.create(type="autumn", status="running", total=1000, processed=321)
    make_notification(subscription, "pending", days_ago=90 / 86400)
    for _ in range(3):
        make_notification(subscription, "failed", failure_reason="HTTP 413")
    make_notification(subscription, "expired", failure_reason="Not sent before its deadline")


def test_stale_breakers_are_not_reported_as_problems():
    """Without traffic, a breaker stays open after the outage. A key that was replaced signs no messages."""
    now, hour = timezone.now(), timedelta(hours=1)
    service = PushServiceState.objects.create(push_service=SERVICE, paused_until=now - hour, reason="outage: timed out")
    refused = {"push_service": FCM, "paused_until": now + hour, "reason": "credentials: HTTP 403"}
    PushServiceState.objects.create(vapid_key_id="replaced", **refused)
    assert overview.service_states() == []
    PushServiceState.objects.create(vapid_key_id=current_key_id(), **refused)
    PushServiceState.objects.filter(pk=service.pk).update(paused_until=now + hour)
    assert [(state.name, state.state) for state in overview.service_states()] == [(FCM, "refused"), (SERVICE, "open")]


class TestDashboard:
    def test_it_says_that_delivery_works(self, admin_client, subscription):
        make_notification(subscription)
        page = admin_client.get(url()).content.decode()
        assert "Delivery works." in page
        assert "Nothing was sent yet." not in page
        assert "No worker was seen in the last day." in page
        assert "All push services accept messages, without a limit." in page

    def test_broadcasts_have_the_label_of_their_type(self, admin_client, push_settings):
        push_settings(NOTIFICATION_TYPES={"autumn": {"label": "Autumn offers"}})
        row = PushBroadcast.objects.create(type="autumn", status="running", total=1000, processed=321)
        assert f"#{row.pk} Autumn offers</a>" in admin_client.get(url()).content.decode()

    def test_before_the_first_message_it_says_what_to_do(self, admin_client, make_subscription):
        page = admin_client.get(url()).content.decode()
        assert "Nothing was sent yet." in page
        assert "webpush-kit-status-new" in page
        assert "turn notifications on" in page
        assert "Delivery works." not in page
        caches["default"].clear()
        subscription = make_subscription()
        assert "manage.py push_send USER TITLE" in admin_client.get(url()).content.decode()
        caches["default"].clear()
        make_notification(subscription, "pending")
        page = admin_client.get(url()).content.decode()
        assert "Nothing was sent yet." in page
        assert "push_send" not in page

    def test_a_site_whose_messages_were_deleted_has_sent_some(self, admin_client):
        today = timezone.localdate()
        DailyStatistics.objects.create(day=today, dimension="type", value="news", accepted=0)
        assert "Nothing was sent yet." in admin_client.get(url()).content.decode()
        DailyStatistics.objects.create(day=today, dimension="type", value="news", accepted=1)
        assert "Delivery works." in admin_client.get(url()).content.decode()

    def test_problems_come_before_the_first_message_too(self, admin_client, subscription):
        make_notification(subscription, "pending", days_ago=40 / 86400)
        page = admin_client.get(url()).content.decode()
        assert "Delivery does not work." in page
        assert "and no worker runs." in page

    def test_it_explains_lanes(self, admin_client):
        assert "Workers send high lanes before normal and low ones." in admin_client.get(url()).content.decode()

    def test_it_lists_problems(self, busy, admin_client):
        page = admin_client.get(url()).content.decode()
        for text in (
            "web1:0",
            "not seen any more",
            "ended (stopped by a signal)",
            "1,234",
            "outage: timed out",
            "refuses the VAPID key",
            "paused by hand",
            "Forget the learned rate",
            "autumn",
            "321 / 1,000",
            "HTTP 413",
            "Not sent before its deadline",
        ):
            assert text in page, text

    def test_a_failure_leads_to_its_rows_wherever_they_are(self, busy, admin_client, monkeypatch):
        monkeypatch.setattr(large_tables, "SCAN_LIMIT", 1)
        page = admin_client.get(url()).content.decode()
        [link] = set(re.findall(r'href="([^"]*/\?[^"]*=failed)"', page))
        rows = admin_client.get(link).context["cl"].result_list
        assert [row.failure_reason for row in rows] == ["HTTP 413"] * 3

    @pytest.mark.parametrize("page", ["dashboard", "index"])
    def test_it_runs_few_queries_whatever_is_wrong(
        self, busy, subscription, admin_client, django_assert_max_num_queries, page
    ):
        """No worker runs, a broadcast stands still and another failed, and each lane has failures."""
        address = url() if page == "dashboard" else reverse("admin:index")
        WorkerHeartbeat.objects.update(seen_at=database_now(clock_difference()) - timedelta(hours=2))
        PushServiceState.objects.filter(push_service="").delete()  # a pause by hand explains everything else
        hours_ago = timezone.now() - timedelta(hours=3)
        for status in ("running", "running", "failed"):
            PushBroadcast.objects.create(
                type="news", status=status, created_at=hours_ago, started_at=hours_ago, finished_at=timezone.now()
            )
        PushBroadcast.objects.filter(type="autumn").update(started_at=hours_ago, created_at=hours_ago)
        for lane in (0, 1, 2, 9):
            for status in ("failed", "expired", "pending", "sending"):
                make_notification(subscription, status, lane=lane, failure_reason="HTTP 500", days_ago=0.1)
        admin_client.get(address)
        with django_assert_max_num_queries(15):
            shown = admin_client.get(address).content.decode()
        assert "Delivery does not work." in shown
        assert page == "index" or ("is stalled at" in shown and ") failed: " in shown)

    def test_the_number_of_queries_is_constant(self, busy, subscription, admin_client, django_assert_max_num_queries):
        admin_client.get(url())
        for _ in range(30):
            make_notification(subscription, "failed", failure_reason="HTTP 500")
            make_worker()
            PushServiceState.objects.create(push_service=f"push{_}.example.com", paused_by_hand_at=timezone.now())
            PushBroadcast.objects.create(type="autumn", status="paused")
        with django_assert_max_num_queries(12):
            admin_client.get(url())

    def test_it_requires_the_view_permission(self, staff):
        assert staff("view_pushbroadcast").get(url()).status_code == 403
        assert staff("view_workerheartbeat").get(url()).status_code == 200
        page = staff("view_workerheartbeat").get(reverse("admin:webpush_kit_workerheartbeat_changelist"))
        assert url() in page.content.decode()

    def test_a_learned_rate_can_be_reset(self, busy, staff):
        assert staff("view_workerheartbeat").post(url(), {"forget_rate": FCM}).status_code == 403
        client = staff("view_workerheartbeat", "change_pushservicestate")
        assert "1 rate was forgotten." in client.post(url(), {"forget_rate": FCM}, follow=True).content.decode()
        assert PushServiceState.objects.get(push_service=FCM, vapid_key_id="").rate is None
        assert "0 rates were forgotten." in client.post(url(), {"forget_rate": FCM}, follow=True).content.decode()

    def test_a_list_action_resets_learned_rates_too(self, busy, admin_client):
        row = PushServiceState.objects.get(push_service=FCM, vapid_key_id="")
        data = {"action": "forget_rate", "_selected_action": [row.pk]}
        list_page = reverse("admin:webpush_kit_pushservicestate_changelist")
        assert "1 rate was forgotten." in admin_client.post(list_page, data, follow=True).content.decode()
        assert "0 rates were forgotten." in admin_client.post(list_page, data, follow=True).content.decode()

    def test_missing_tables_are_reported(self, monkeypatch):
        def raise_it(*arguments):
            raise OperationalError("no such table")

        monkeypatch.setattr(overview, "backlog", raise_it)
        context = dashboard.dashboard_context()
        assert "has_figures" not in context

    def test_malformed_rates_do_not_break_the_page(self, admin_client, push_settings):
        push_settings(SEND_RATES={FCM: "fast"})
        assert admin_client.get(url()).status_code == 200

    def test_a_configured_rate_is_shown_and_cannot_be_reset(self, admin_client, push_settings):
        push_settings(SEND_RATES={FCM: "900/m"})
        page = admin_client.get(url()).content.decode()
        assert "limited to a rate" in page
        assert "Forget the learned rate" not in page


class TestPanel:
    def index(self, client):
        return client.get(reverse("admin:index")).content.decode()

    def test_it_is_shown_on_the_admin_index(self, admin_client):
        page = self.index(admin_client)
        assert "Web push: Nothing was sent yet." in page
        assert url() in page
        assert "Site administration" in page

    def test_it_lists_problems(self, busy, admin_client):
        assert f"refuses the VAPID key {current_key_id()}" in self.index(admin_client)
        assert f"{SERVICE} is paused (outage: timed out)" in self.index(admin_client)

    def test_it_says_how_to_fix_them(self, admin_client, subscription, push_settings):
        push_settings(TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
        make_notification(subscription, "pending", days_ago=40 / 86400)
        command = "<code>python manage.py deliver_push <span>--loop</span></code>"
        for page in (self.index(admin_client), admin_client.get(url()).content.decode()):
            assert f"Start one: {command}, or run <code>deliver_push</code> every minute from cron." in page
            assert "`" not in page.partition("Start one")[2].partition("</ul>")[0]

    def test_backticks_in_data_bring_no_markup_in(self):
        text = "`<b>` and `a` <i> `unfinished"
        assert code_in_backticks(text) == "<code>&lt;b&gt;</code> and <code>a</code> &lt;i&gt; `unfinished"

    def test_it_can_be_switched_off(self, admin_client, push_settings):
        push_settings(ADMIN_PANEL=False)
        assert "Web push: Delivery" not in self.index(admin_client)

    def test_it_requires_the_view_permission(self, staff):
        assert "Web push: Delivery" not in self.index(staff("view_pushbroadcast"))

    def test_an_error_is_logged_and_the_page_is_shown(self, admin_client, monkeypatch, caplog):
        monkeypatch.setattr(dashboard, "get_health", lambda **arguments: 1 / 0)
        assert "Site administration" in self.index(admin_client)
        assert "The panel of the admin could not be shown" in caplog.text

    def test_without_a_request_it_renders_nothing(self):
        assert Template("{% load webpush_kit_admin %}{% webpush_kit_panel %}").render(Context()) == ""

    def test_an_index_template_of_the_project_is_kept(self):
        site = AdminSite()
        site.index_template = "mysite/index.html"
        dashboard.show_panel(site)
        assert site.index_template == "mysite/index.html"
        assert admin.site.index_template == "django_webpush_kit/admin/index.html"


class TestOverview:
    def test_due_is_counted_by_lane_up_to_a_limit(self, subscription, monkeypatch):
        monkeypatch.setattr(overview, "COUNT_LIMIT", 2)
        for lane in (0, 0, 0, 1):
            make_notification(subscription, "pending", days_ago=1 / 24, lane=lane)
        make_notification(subscription, "pending", next_attempt_at=timezone.now() + timedelta(hours=1))
        high, normal, low, isolated = overview.backlog().lanes
        assert (high.due, high.is_limit_reached, normal.due, normal.is_limit_reached) == (2, True, 1, False)
        assert high.oldest_seconds == pytest.approx(3600, abs=60)
        assert (low.due, low.oldest_seconds, isolated.due) == (0, 0.0, 0)
        assert overview.backlog().unfinished == {"pending": 2, "sending": 0}

    def test_errors_of_earlier_days_are_left_out(self, subscription):
        make_notification(subscription, "failed", failure_reason="HTTP 413")
        make_notification(subscription, "failed", failure_reason="HTTP 500", days_ago=2)
        assert overview.recent_errors() == [("failed", "HTTP 413", 1)]

    @pytest.mark.django_db(transaction=True)
    def test_a_missing_table_of_workers_raises_nothing(self):
        make_worker()
        assert len(overview.workers()) == 1
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE webpush_kit_workerheartbeat RENAME TO webpush_kit_away")
            try:
                assert overview.workers() == []
            finally:
                cursor.execute("ALTER TABLE webpush_kit_away RENAME TO webpush_kit_workerheartbeat")
