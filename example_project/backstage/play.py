"""What happens on stage. To be imported once Django is set up."""

import time
from datetime import timedelta
from urllib.parse import urljoin

from django.utils import timezone
from studio import bookings
from studio.models import Course
from studio.notifications import REMIND_AHEAD

from backstage.people import Member
from django_webpush_kit.analytics import NotificationAnalyticsService
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.testing import Fault

PATIENCE = 75
"""Seconds that anything may take; the sweep comes by every minute."""

SOON = timedelta(seconds=15)

POTTERY = "Pottery for the Impatient 🏺"
CHEESE = "Cheese Making with Feeling 🧀"
DRUMS = "Drums for the Shy 🥁"
ESPRESSO = "Spontaneous Espresso Tasting ☕"


class NotAsTold(AssertionError):
    """Something of the play did not happen."""


def gather_cast(stack, origin):
    """Käthe, Jürgen and Zoë; `stack` closes their connections."""
    cast = (("kaethe", "Käthe"), ("juergen", "Jürgen"), ("zoe", "Zoë"))
    return [stack.enter_context(Member(origin, *who)) for who in cast]


class Play:
    """The scenes, in order. Each checks what it claims."""

    def __init__(self, screen, studio, push_service, cast):
        self.screen = screen
        self.studio = studio
        self.push_service = push_service
        self.kaethe, self.juergen, self.zoe = cast
        self.pottery = Course.objects.get(title=POTTERY)
        self.shown = {}

    def perform(self):
        try:
            self.browsers_subscribe()
            self.kaethe_books()
            self.push_service_stumbles()
            self.phone_is_gone()
            self.juergen_changes_his_mind()
            self.second_try()
            self.teacher_oversleeps_twice()
            self.reminder_comes_due()
            self.members_click()
            self.statistics()
        except NotAsTold as error:
            raise NotAsTold(f"{error}\n\nThe cluster's last words:\n{self.studio.log('cluster')[-2000:]}") from error

    def browsers_subscribe(self):
        self.screen.scene("Three members log in and press the button")
        for member, browsers in (
            (self.kaethe, {"laptop": "de", "old phone": "de"}),
            (self.juergen, {"tablet": "en"}),
            (self.zoe, {"phone": "en"}),
        ):
            member.log_in("studio")
            for name, language in browsers.items():
                member.subscribe(self.push_service, name, language=language)
            self.screen.done(f"{member.name}: {', '.join(browsers)}")

    def kaethe_books(self):
        self.screen.scene("Käthe books pottery")
        self.pottery_page = self.kaethe.book(self.pottery)
        self.arrives(self.kaethe, "laptop", f"Gebucht: {POTTERY}", "Schön, Käthe!")
        self.arrives(self.kaethe, "old phone", f"Gebucht: {POTTERY}")
        reminder = row(self.kaethe, "booking_reminder")
        expect(reminder.status == "pending", "the reminder waits")
        self.screen.aside(f"Her reminder waits in the outbox until {local(reminder.scheduled_for):%d %B, %H:%M}.")

    def push_service_stumbles(self):
        self.screen.scene("Zoë books too, and the push service has a bad moment")
        phone = self.zoe.browsers["phone"]
        self.push_service.script(phone.endpoint, Fault(status=500))
        self.zoe.book(self.pottery)
        self.until(lambda: self.answers_to(phone) == [500], "the push service answers 500")
        self.until(lambda: row(self.zoe, "booking_confirmed").retry_count == 1, "the failure is recorded")
        self.screen.trouble("500 Internal Server Error. Nobody panics: the row goes back, to be tried again.")

    def phone_is_gone(self):
        self.screen.scene("Käthe's old phone falls into the kiln, and she books cheese")
        phone = self.kaethe.browsers["old phone"]
        self.push_service.expire(phone.endpoint)
        self.kaethe.book(Course.objects.get(title=CHEESE))
        self.arrives(self.kaethe, "laptop", f"Gebucht: {CHEESE}")
        self.until(lambda: not subscription(phone).is_active, "the phone's subscription is deactivated")
        expect(self.answers_to(phone) == [201, 410], "the push service called the phone gone")
        self.screen.trouble(f"Old phone: deactivated, and the reason kept: “{subscription(phone).deactivation_reason}”")

    def juergen_changes_his_mind(self):
        self.screen.scene("Jürgen books the drums, and thinks better of it")
        page = self.juergen.book(Course.objects.get(title=DRUMS))
        self.arrives(self.juergen, "tablet", f"Booked: {DRUMS}")
        expect(row(self.juergen, "booking_reminder").status == "pending", "his reminder waits")
        self.juergen.cancel(page)
        expect(row(self.juergen, "booking_reminder").status == "cancelled", "his reminder is cancelled")
        self.screen.done("Cancelled, and the reminder with it. The neighbours are relieved.")

        self.screen.say("He takes something quieter instead, and soon:")
        starts_at = timezone.now() + REMIND_AHEAD + SOON
        espresso = Course.objects.create(title=ESPRESSO, teacher="Zoë", room="Kitchen", starts_at=starts_at, places=3)
        self.espresso_page = self.juergen.book(espresso)
        self.arrives(self.juergen, "tablet", f"Booked: {ESPRESSO}")

    def second_try(self):
        self.screen.scene("Meanwhile: Zoë's confirmation is tried again")
        self.arrives(self.zoe, "phone", f"Booked: {POTTERY}", "Zoë")
        self.until(lambda: row(self.zoe, "booking_confirmed").status == "sent", "Zoë's confirmation is sent")
        expect(self.answers_to(self.zoe.browsers["phone"]) == [500, 201], "it failed once")
        self.screen.done("Zoë's confirmation, at the second try.")

    def teacher_oversleeps_twice(self):
        self.screen.scene("Änne oversleeps: pottery begins an hour later. Or two?")
        phone = self.zoe.browsers["phone"]
        self.push_service.script(phone.endpoint, Fault(status=500))
        bookings.move(self.pottery, self.pottery.starts_at + timedelta(hours=1))
        self.arrives(self.kaethe, "laptop", f"Neue Zeit: {POTTERY}", f"{local(self.pottery.starts_at):%H:%M}")
        first = row(self.zoe, "course_moved")
        self.until(lambda: self.answers_to(phone).count(500) == 2, "the push service answers 500")
        self.screen.trouble("The push service stumbles over Zoë again. Then Änne looks at her alarm clock once more.")

        starts_at = self.pottery.starts_at + timedelta(hours=1)
        bookings.move(self.pottery, starts_at)
        self.arrives(self.kaethe, "laptop", f"Neue Zeit: {POTTERY}", f"{local(starts_at):%H:%M}")
        self.arrives(self.zoe, "phone", f"New time: {POTTERY}", f"{local(starts_at):%H:%M}")
        first.refresh_from_db()
        expect(first.status == "cancelled", "Zoë's first message about the time is cancelled")
        self.screen.done("Zoë sees the newest time only: the messages share a topic, so the older one is withdrawn.")

    def reminder_comes_due(self):
        self.screen.scene("And what was scheduled comes due")
        self.screen.aside("Every minute the cluster's sweep asks the database. Even a lost wake-up loses nothing.")
        self.arrives(self.juergen, "tablet", f"⏰ {ESPRESSO}", "dirty")
        self.screen.done("Jürgen's reminder, an hour ahead, written when he booked.")

    def members_click(self):
        self.screen.scene("What the members do with all this")
        self.clicks(self.kaethe, "laptop", f"Gebucht: {POTTERY}", opens=self.pottery_page)
        self.clicks(self.juergen, "tablet", f"⏰ {ESPRESSO}", action="cancel", opens=f"{self.espresso_page}#cancel")
        expect_reported(self.zoe.browsers["phone"].dismiss(self.shown[self.zoe, f"New time: {POTTERY}"]))
        self.screen.done("Zoë swipes the new time away. She is never there before ten past anyway.")

    def statistics(self):
        self.screen.scene("The statistics")
        service = NotificationAnalyticsService()
        figures = {**service.get_engagement_stats(days=1), **service.get_notification_stats(days=1)}
        self.screen.table(
            [
                ("accepted by the push service", figures["total_sent"]),
                ("failed for good (the old phone)", figures["total_failed"]),
                ("delivery rate", f"{figures['delivery_rate']} %"),
                ("shown by a browser", figures["delivered"]),
                ("clicked", figures["clicked"]),
                ("buttons clicked", figures["action_clicked"]),
                ("dismissed", figures["dismissed"]),
            ]
        )
        wanted = {"total_sent": 10, "total_failed": 1, "delivery_rate": 90.9, "delivered": 10}
        wanted |= {"clicked": 1, "action_clicked": 1, "dismissed": 1}
        for name, number in wanted.items():
            expect(figures[name] == number, f"{name} is {number}, not {figures[name]}")

    # what the scenes are made of

    def arrives(self, member, device, title, text=""):
        """Wait until a browser has decrypted a notification and reported it, and show it here."""
        browser = member.browsers[device]

        def find():
            return next((shown for shown in browser.shown if shown.title == title and text in shown.body), None)

        notification = self.until(find, f"“{title}” with {text!r} arrives at {member.name}'s {device}")
        for report in browser.deliver():
            expect_reported(report)
        self.shown[member, title] = notification
        self.screen.notification(f"{member.name}'s {device}", notification)

    def clicks(self, member, device, title, *, opens, action=""):
        """Click as the user does: the browser opens the page, and reports."""
        browser, notification = member.browsers[device], self.shown[member, title]
        expect_reported(browser.click(notification, action))
        expect(browser.opened == [opens], f"the click opens {opens}, not {browser.opened}")
        expect('id="booking"' in member.get(opens).text, f"{opens} is the booking's page")
        button = f"[ {notification.actions[0]['title']} ] on " if action else ""
        self.screen.done(f"{member.name} clicks {button}“{title}”")
        self.screen.aside(f"and lands on {urljoin(self.studio.origin, opens)}")

    def until(self, probe, what):
        """Wait for something to become true, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := probe()):
            self.studio.check()
            expect(time.monotonic() < deadline, f"{what} (waited {PATIENCE} s)")
            time.sleep(0.05)
        return found

    def answers_to(self, browser):
        """The status codes that the push service gave for this browser's endpoint, oldest first."""
        return [request.status for request in self.push_service.requests if request.endpoint == browser.endpoint]


def row(member, type_name):
    """The newest outbox row of this type for a member."""
    rows = get_notification_model().objects.filter(user__username=member.username, type=type_name)
    return rows.latest("id")


def subscription(browser):
    return get_subscription_model().objects.get(endpoint=browser.endpoint)


def local(moment):
    return timezone.localtime(moment)


def expect(condition, what):
    if not condition:
        raise NotAsTold(f"This did not happen: {what}.")


def expect_reported(report):
    expect(report.response.status == 200, f"the site takes the report (it answered {report.response.status})")
