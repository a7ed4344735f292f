"""The studio's own tests: `python example_project/manage.py test studio`. No push service, queue or browser needed."""

# ruff: noqa: S101  # asserts are what tests are made of

import re
import secrets
from base64 import urlsafe_b64encode
from datetime import timedelta
from unittest import skipUnless

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import TestCase, override_settings
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from django_webpush_kit.testing import PushTestCaseMixin
from studio import bookings, sample_history
from studio.models import Booking, Course


@override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])  # fast; for tests only
class StudioTestCase(PushTestCaseMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        call_command("load_studio", verbosity=0)
        cls.kaethe = get_user_model().objects.get(username="kaethe")
        cls.course = Course.objects.upcoming().first()

    def setUp(self):
        super().setUp()
        self.client.force_login(self.kaethe)

    def subscribe(self, user, language="de"):
        return services.subscribe(user=user, language=language, **subscription_fields())

    def rows(self, type_name):
        return get_notification_model().objects.filter(type=type_name)


class BookingTests(StudioTestCase):
    def test_a_booking_is_confirmed_in_every_language_at_once(self):
        self.subscribe(self.kaethe, "de-AT")
        self.subscribe(self.kaethe, "fr")
        with self.push_commit():
            page = self.client.post(f"/courses/{self.course.pk}/book/", follow=True)
        self.assertContains(page, self.course.title)
        booking = Booking.objects.get()
        german, english = sorted(self.push_outbox, key=lambda message: message.title, reverse=True)
        assert german.title == f"Gebucht: {self.course.title}"
        assert "Schön, Käthe!" in german.body
        assert english.title == f"Booked: {self.course.title}"
        assert {german.url, english.url} == {booking.get_absolute_url()}

    def test_the_reminder_is_written_now_and_due_an_hour_ahead(self):
        self.subscribe(self.kaethe)
        with self.push_commit():
            booking = bookings.book(self.kaethe, self.course)
        reminder = self.rows("booking_reminder").get()
        assert reminder.scheduled_for == booking.course.starts_at - timedelta(hours=1)
        assert reminder.status == "pending"
        assert len(self.push_outbox) == 1

    def test_cancelling_withdraws_the_reminder(self):
        self.subscribe(self.kaethe)
        booking = bookings.book(self.kaethe, self.course)
        self.client.post(f"/bookings/{booking.pk}/cancel/")
        assert self.rows("booking_reminder").get().status == "cancelled"
        self.client.post(f"/bookings/{booking.pk}/cancel/")
        bookings.book(self.kaethe, self.course)
        assert self.rows("booking_reminder").latest("id").status == "pending"

    def test_who_switches_notifications_on_after_booking_is_reminded_all_the_same(self):
        bookings.book(self.kaethe, self.course)
        for browsers in (1, 2):
            self.subscribe(self.kaethe)
            waiting = self.rows("booking_reminder").filter(status="pending")
            assert waiting.values("subscription").distinct().count() == waiting.count() == browsers

    def test_a_browser_that_comes_back_or_changes_hands_brings_its_users_reminders(self):
        zoe = get_user_model().objects.get(username="zoe")
        for member in (self.kaethe, zoe):
            bookings.book(member, self.course)
        fields = subscription_fields()
        for member in (self.kaethe, zoe, self.kaethe):
            subscription = services.subscribe(user=member, **fields)
            assert self.rows("booking_reminder").get(status="pending").user == member
        services.unsubscribe(subscription)
        services.subscribe(user=self.kaethe, **fields)
        assert self.rows("booking_reminder").get(status="pending").user == self.kaethe

    def test_a_course_that_begins_within_the_hour_needs_no_reminder(self):
        self.subscribe(self.kaethe)
        Course.objects.update(starts_at=timezone.now() + timedelta(minutes=30))
        bookings.book(self.kaethe, self.course)
        assert not self.rows("booking_reminder").exists()

    def test_who_moves_a_course_in_the_admin_tells_everybody_and_moves_the_reminders(self):
        self.subscribe(self.kaethe)
        with self.push_commit():
            bookings.book(self.kaethe, self.course)
        self.client.force_login(get_user_model().objects.get(username="admin"))
        starts_at = timezone.localtime(self.course.starts_at) + timedelta(hours=2)
        form = {name: getattr(self.course, name) for name in ("title", "description", "teacher", "room", "places")}
        form |= {"starts_at_0": f"{starts_at:%Y-%m-%d}", "starts_at_1": f"{starts_at:%H:%M:%S}"}
        with self.push_commit():
            reply = self.client.post(f"/admin/studio/course/{self.course.pk}/change/", form)
        self.assertRedirects(reply, "/admin/studio/course/")
        assert self.push_outbox[-1].title == f"Neue Zeit: {self.course.title}"
        assert f"{starts_at:%H:%M}" in self.push_outbox[-1].body
        states = dict(self.rows("booking_reminder").values_list("scheduled_for", "status"))
        before, after = self.course.starts_at - timedelta(hours=1), starts_at - timedelta(hours=1)
        assert states == {before: "cancelled", after: "pending"}

    def test_nothing_is_booked_twice_or_beyond_the_last_place_or_too_late(self):
        Course.objects.filter(pk=self.course.pk).update(places=1)
        zoe = get_user_model().objects.get(username="zoe")
        bookings.book(zoe, self.course)
        for user, words in ((zoe, "already"), (self.kaethe, "full")):
            with self.assertRaisesMessage(bookings.CannotBook, words):
                bookings.book(user, self.course)
        Course.objects.update(starts_at=timezone.now() - timedelta(minutes=1))
        page = self.client.post(f"/courses/{self.course.pk}/book/", follow=True)
        self.assertContains(page, "begun already")
        assert not Booking.objects.filter(member=self.kaethe).exists()


class PageTests(StudioTestCase):
    def test_every_page_answers_in_both_languages_under_the_strict_policy(self):
        booking = bookings.book(self.kaethe, self.course)
        paths = ["/", "/bookings/", booking.get_absolute_url(), "/notifications/"]
        for path in paths:
            for language in ("en", "de"):
                with self.subTest(path=path, language=language):
                    page = self.client.get(path, headers={"accept-language": language})
                    self.assertContains(page, f'<html lang="{language}">')
                    assert "script-src 'self'" in page["Content-Security-Policy"]
                    assert not re.search(r"<style|style=|onclick|<script(?![^>]* src=)", page.content.decode())
        self.assertContains(self.client.get("/notifications/"), 'id="push-toggle"')

    def test_signing_in_leaves_other_projects_on_localhost_alone(self):
        self.client.post("/login/", {"username": "kaethe", "password": "studio"})
        assert "studio_session" in self.client.cookies
        assert "sessionid" not in self.client.cookies

    def test_strangers_see_courses_only(self):
        booking = bookings.book(self.kaethe, self.course)
        self.client.logout()
        self.assertContains(self.client.get("/"), "Log in to book")
        self.assertRedirects(self.client.get("/bookings/"), "/login/?next=/bookings/")
        self.client.force_login(get_user_model().objects.get(username="zoe"))
        assert self.client.get(booking.get_absolute_url()).status_code == 404

    def test_a_cancelled_booking_says_so(self):
        booking = bookings.book(self.kaethe, self.course)
        page = self.client.post(f"/bookings/{booking.pk}/cancel/", follow=True)
        self.assertContains(page, "Cancelled")
        self.assertContains(self.client.get("/bookings/"), "cancelled")


class SampleHistoryTests(StudioTestCase):
    def test_every_page_of_the_admin_has_something_to_show_and_nothing_is_sent(self):
        call_command("seed_history", verbosity=0)
        number = get_notification_model().objects.count()
        assert number > 1500
        call_command("seed_history", verbosity=0)
        assert get_notification_model().objects.count() == number
        assert set(PushBroadcast.objects.values_list("status", flat=True)) == {"running", "completed"}
        with self.push_commit():
            assert not deliver_due().claimed
            assert not self.push_outbox
        running = PushBroadcast.objects.get(status="running")
        assert running.type == "sample_never_finishes"
        self.client.force_login(get_user_model().objects.get(username="admin"))
        self.assertContains(self.client.get(f"/admin/webpush_kit/pushbroadcast/{running.pk}/change/"), "per second")
        report = NotificationAnalyticsService().get_report(sample_history.COUNTED_DAYS)
        assert report["period"]["uncounted_days"] == 0
        assert report["totals"]["queued"] == number
        assert all(entry["accepted"] for entry in report["daily"][-sample_history.DAYS : -1])
        for dimension in ("type", "push_service", "language", "template", "broadcast"):
            assert len(report["breakdowns"][dimension]) > 1
        self.assertContains(self.client.get("/admin/webpush_kit/pushnotification/statistics/"), "booking_reminder")
        call_command("seed_history", "--again", verbosity=0)
        assert get_notification_model().objects.filter(type="studio_news").exists()
        assert "News from the studio" in self.client.get("/admin/webpush_kit/pushbroadcast/").content.decode()
        report = NotificationAnalyticsService().get_report(sample_history.COUNTED_DAYS)
        assert report["totals"]["queued"] == get_notification_model().objects.count()
        call_command("seed_history", "--forget", verbosity=0)
        report = NotificationAnalyticsService().get_report(sample_history.COUNTED_DAYS)
        assert report["totals"]["queued"] == 0
        assert not get_notification_model().objects.exists()
        assert not PushBroadcast.objects.exists()


@skipUnless(settings.HAS_TOKENS, "needs djangorestframework-simplejwt")
class TokenTests(StudioTestCase):
    def test_an_app_without_cookies_subscribes_with_a_token(self):
        self.client.logout()
        assert self.subscribe_over_http().status_code == 401
        assert self.subscribe_over_http(authorization="Bearer of bad news").status_code == 401
        token = self.client.post("/api/token/", {"username": "kaethe", "password": "studio"}).json()["access"]
        assert self.subscribe_over_http(authorization=f"Bearer {token}").status_code == 201
        assert get_subscription_model().objects.get().user == self.kaethe

    def subscribe_over_http(self, **headers):
        fields = subscription_fields()
        subscription = {"endpoint": fields.pop("endpoint"), "keys": fields}
        return self.client.post(
            "/api/v1/push/subscribe", {"subscription": subscription}, "application/json", headers=headers
        )


def subscription_fields():
    """What a browser of Mozilla's would send; nothing is ever sent there from a test."""
    point = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {
        "endpoint": f"https://updates.push.services.mozilla.com/wpush/v2/{secrets.token_urlsafe(24)}",
        "p256dh": urlsafe_b64encode(point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).decode(),
        "auth": urlsafe_b64encode(secrets.token_bytes(16)).decode(),
    }
