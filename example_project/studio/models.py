"""Courses, and who has booked them."""

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone


class CourseQuerySet(models.QuerySet):
    def upcoming(self):
        return self.filter(starts_at__gt=timezone.now()).order_by("starts_at", "pk")


class Course(models.Model):
    title = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    teacher = models.CharField(max_length=100)
    room = models.CharField(max_length=100)
    starts_at = models.DateTimeField()
    places = models.PositiveIntegerField(default=8)

    objects = CourseQuerySet.as_manager()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(places__gt=0), name="studio_course_places")]

    def __str__(self):
        return self.title

    @property
    def places_left(self):
        return max(0, self.places - self.bookings.active().count())


class BookingQuerySet(models.QuerySet):
    def active(self):
        return self.filter(cancelled_at=None)


class Booking(models.Model):
    member = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="bookings")
    course = models.ForeignKey(Course, on_delete=models.CASCADE, related_name="bookings")
    created_at = models.DateTimeField(auto_now_add=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    objects = BookingQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["member", "course"], condition=models.Q(cancelled_at=None), name="studio_booking_once"
            )
        ]

    def __str__(self):
        return f"{self.course}: {self.member}"

    def get_absolute_url(self):
        """Where a click on a notification leads."""
        return reverse("booking", args=[self.pk])

    @property
    def can_be_cancelled(self):
        return self.cancelled_at is None and self.course.starts_at > timezone.now()
