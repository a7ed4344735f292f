"""Booking and cancelling: the rules of the studio."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from . import notifications
from .models import Booking, Course


class CannotBook(Exception):
    """The reason, for the member to read."""


@transaction.atomic
def book(member, course):
    """Book a place and return the booking; raises `CannotBook`."""
    course = Course.objects.select_for_update().get(pk=course.pk)
    if course.starts_at <= timezone.now():
        raise CannotBook(_("This course has begun already."))
    if course.bookings.active().filter(member=member).exists():
        raise CannotBook(_("You have booked this course already."))
    if not course.places_left:
        raise CannotBook(_("This course is full."))
    booking = Booking.objects.create(member=member, course=course)
    notifications.confirm_booking(booking)
    notifications.schedule_reminder(booking)
    return booking


@transaction.atomic
def cancel(booking):
    """Give the place back. Cancelling twice does no harm."""
    cancelled = Booking.objects.active().filter(pk=booking.pk).update(cancelled_at=timezone.now())
    if cancelled:
        notifications.cancel_reminder(booking)


@transaction.atomic
def move(course, starts_at):
    """Let a course begin at another time."""
    course.starts_at = starts_at
    course.save(update_fields=["starts_at"])
    notifications.announce_new_time(course)
