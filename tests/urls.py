"""URLconf of the test suite."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("api/v1/push/", include("django_webpush_kit.urls")),
    path("admin/", admin.site.urls),
]
