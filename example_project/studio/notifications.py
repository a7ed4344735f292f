"""What the studio tells its members, each message a notification template (see fixtures/studio_templates.json).

Every call here belongs inside the transaction that changes the booking: if that rolls back, nothing is sent.
"""

from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from django_webpush_kit import services

REMIND_AHEAD = timedelta(hours=1)


def confirm_booking(booking):
    """Tell the member at once, in every browser that has subscribed."""
    services.send_templated(
        "booking_confirmed", to=booking.member, context=booking_context(booking), **newest_about(booking.course)
    )


def schedule_reminder(booking):
    """Queue the reminder now, for later: it waits in the database until it is due.

    The idempotency key names the booking, so that there is one reminder however often this runs, and so that it can be
    found again to be cancelled.
    """
    course = booking.course
    remind_at = course.starts_at - REMIND_AHEAD
    if remind_at > timezone.now():
        services.send_templated(
            "booking_reminder",
            to=booking.member,
            context=booking_context(booking),
            scheduled_for=remind_at,
            expires_at=course.starts_at,
            idempotency_key=reminder_key(booking),
        )


def cancel_reminder(booking):
    """Withdraw the reminder if it has not been sent yet."""
    services.cancel(idempotency_key=reminder_key(booking))


def announce_new_time(course):
    """Tell everybody who has booked, and put the reminders right."""
    bookings = course.bookings.active().select_related("member", "course")
    services.send_templated(
        "course_moved",
        to=get_user_model().objects.filter(bookings__in=bookings),
        context=course_context(course),
        **newest_about(course),
    )
    for booking in bookings:
        cancel_reminder(booking)
        schedule_reminder(booking)


@transaction.atomic
def remind_new_browser(subscription, **_others):
    """Receiver of `subscription_created`: write the reminders anew, for the browser that has joined as well.

    A message goes to the browsers there are when it is written, and a reminder is written days ahead. The browser may
    be a new one, one that was switched off for a while, or one that another member used before.
    """
    if subscription.user:
        for booking in subscription.user.bookings.active().select_related("member", "course"):
            cancel_reminder(booking)
            schedule_reminder(booking)


def booking_context(booking):
    """Plain values only: templates are edited by staff, who shall not reach into the database from there."""
    return {**course_context(booking.course), "url": booking.get_absolute_url()}


def course_context(course):
    """The time is that of the clock on the studio's wall; an aware one would be shown in each reader's time zone."""
    starts_at = timezone.make_naive(course.starts_at, timezone.get_default_timezone())
    return {"course": course.title, "teacher": course.teacher, "room": course.room, "starts_at": starts_at}


def newest_about(course):
    """Options that let the newest message about a course replace older ones, unsent or on the screen.

    Without them a confirmation that is retried would tell the old time after the new one.
    """
    name = f"course-{course.pk}"
    return {"topic": name, "tag": name}


def reminder_key(booking):
    return f"booking-reminder-{booking.pk}"
