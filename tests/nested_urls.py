"""Our URLs below another namespace and a language prefix."""

from django.urls import include, path

inner = ([path("push/", include("django_webpush_kit.urls"))], "api")

urlpatterns = [path("<slug:tenant>/", include(inner, namespace="v1"))]
