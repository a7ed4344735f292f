"""The example site with a session for single-page apps."""

from __future__ import annotations

import json

from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie


@ensure_csrf_cookie
def session(request: HttpRequest) -> JsonResponse:
    """Tell who is signed in; POST signs in, DELETE signs out."""
    if request.method == "POST":
        user = authenticate(request, **json.loads(request.body))
        if user is None:
            return JsonResponse({}, status=400)
        login(request, user)
    elif request.method == "DELETE":
        logout(request)
    return JsonResponse({"id": str(request.user.pk or ""), "name": request.user.get_username()})


urlpatterns = [path("api/session", session), path("", include("config.urls"))]
