"""The package's URLs: messages carry the address for events."""

from django.urls import include, path

urlpatterns = [path("push/", include("django_webpush_kit.urls"))]
