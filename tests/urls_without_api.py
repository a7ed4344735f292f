"""URLconf of a host that only sends."""

urlpatterns: list = []
