from django.urls import path

from . import views

urlpatterns = [
    path("", views.courses, name="courses"),
    path("courses/<int:pk>/book/", views.book, name="book"),
    path("bookings/", views.booking_list, name="bookings"),
    path("bookings/<int:pk>/", views.booking_detail, name="booking"),
    path("bookings/<int:pk>/cancel/", views.cancel_booking, name="cancel-booking"),
    path("notifications/", views.notification_settings, name="notifications"),
]
