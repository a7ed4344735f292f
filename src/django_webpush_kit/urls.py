"""URLs of the HTTP API: `path("api/v1/push/", include("django_webpush_kit.urls"))`."""

from __future__ import annotations

from django.urls import path

from django_webpush_kit.api import views
from django_webpush_kit.api.preferences_form import preferences_form

app_name = "webpush_kit"
urlpatterns = [
    path("subscribe", views.subscribe, name="subscribe"),
    path("unsubscribe", views.unsubscribe, name="unsubscribe"),
    path("preferences", views.preferences, name="preferences"),
    path("preferences-form", preferences_form, name="preferences-form"),
    path("subscriptions", views.subscriptions, name="subscriptions"),
    path("test", views.test, name="test"),
    path("health", views.health, name="health"),
    path("config", views.config, name="config"),
    path("events", views.events, name="events"),
    path("open/<token>", views.open_notification, name="open"),
    path("openapi.json", views.openapi, name="openapi"),
    path("service-worker.js", views.service_worker, name="service-worker"),
]
