from django.contrib import admin

from . import bookings
from .models import Booking, Course


@admin.register(Course)
class CourseAdmin(admin.ModelAdmin):
    list_display = ["title", "teacher", "room", "starts_at", "places", "places_left"]

    def save_model(self, request, obj, form, change):
        """Who moves a course need not remember to tell the members."""
        super().save_model(request, obj, form, change)
        if change and "starts_at" in form.changed_data:
            bookings.move(obj, obj.starts_at)


@admin.register(Booking)
class BookingAdmin(admin.ModelAdmin):
    list_display = ["course", "member", "created_at", "cancelled_at"]
    list_select_related = ["course", "member"]
