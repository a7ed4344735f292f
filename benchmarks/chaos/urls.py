"""The package's URLs: messages carry the address for events."""

from django.urls import include, path

urlpatterns = [path("api/v1/push/", include("django_webpush_kit.urls"))]
