"""URLs of the HTTP API: `path("api/v1/push/", include("django_webpush_kit.urls"))`."""

app_name = "webpush_kit"
urlpatterns: list[object] = []
