from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

urlpatterns = [
    path("", include("studio.urls")),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("api/v1/push/", include("django_webpush_kit.urls")),
]

if settings.HAS_TOKENS:
    from rest_framework_simplejwt.views import TokenObtainPairView

    urlpatterns += [path("api/token/", TokenObtainPairView.as_view(), name="token")]
