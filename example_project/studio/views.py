from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from . import bookings
from .models import Booking, Course


def courses(request):
    """What can be booked."""
    booked = set()
    if request.user.is_authenticated:
        booked = set(Booking.objects.active().filter(member=request.user).values_list("course", flat=True))
    return render(request, "studio/courses.html", {"courses": Course.objects.upcoming(), "booked": booked})


@require_POST
@login_required
def book(request, pk):
    try:
        booking = bookings.book(request.user, get_object_or_404(Course, pk=pk))
    except bookings.CannotBook as reason:
        messages.error(request, str(reason))
        return redirect("courses")
    messages.success(request, _("“%(course)s” is yours.") % {"course": booking.course})
    return redirect(booking)


@login_required
def booking_list(request):
    mine = Booking.objects.filter(member=request.user).select_related("course").order_by("course__starts_at", "pk")
    return render(request, "studio/booking_list.html", {"bookings": mine})


@login_required
def booking_detail(request, pk):
    """The page that a click on a notification opens. Other members' bookings do not exist here."""
    booking = get_object_or_404(Booking.objects.select_related("course"), pk=pk, member=request.user)
    return render(request, "studio/booking_detail.html", {"booking": booking})


@require_POST
@login_required
def cancel_booking(request, pk):
    booking = get_object_or_404(Booking, pk=pk, member=request.user)
    bookings.cancel(booking)
    messages.success(request, _("“%(course)s” is cancelled.") % {"course": booking.course})
    return redirect(booking)


@login_required
def notification_settings(request):
    """The page with the button that subscribes this browser."""
    return render(request, "studio/notifications.html")
