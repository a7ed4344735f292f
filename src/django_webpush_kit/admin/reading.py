"""What the model admins have in common: pages to read, actions instead of edits, cheap lists of large tables."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_permission_codename, get_user_model
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.bases import ModelAdmin, Paginator
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.models import get_template_model

COUNT_LIMIT = 10_000
"""Lists are counted up to here: an exact count of millions of rows takes longer than anybody pages."""


class BoundedPaginator(Paginator):
    """Counts at most `COUNT_LIMIT` rows."""

    @cached_property
    def count(self) -> int:
        """The number of rows, or `COUNT_LIMIT` when there are more."""
        rows: Any = self.object_list
        return len(rows[:COUNT_LIMIT]) if isinstance(rows, list) else int(rows.order_by()[:COUNT_LIMIT].count())


class ReadingAdmin(ModelAdmin):
    """Rows are written by the library alone: staff look at them and act on them, but do not edit them.

    Actions ask for the permission `act`, which those have who may change the model.
    """

    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: rows come from `services`."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Nobody: see `has_act_permission`."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Those who may view the model, and those who may act on it."""
        return super().has_view_permission(request, obj) or self.has_act_permission(request)

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Those who have the permission to change the model."""
        codename = get_permission_codename("change", self.opts)
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{codename}"))


class UserSearchAdmin(ReadingAdmin):
    """A `ReadingAdmin` of a model with a user, who is what people search for."""

    list_select_related = ("user",)

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The user's name, and e-mail address where the user model has one."""
        user_model = get_user_model()
        names = {user_model.USERNAME_FIELD, getattr(user_model, "EMAIL_FIELD", "")} - {""}
        return [f"user__{name}" for name in sorted(names)]


class TypeFilter(admin.SimpleListFilter):
    """By notification type: those of the settings and of the templates, so that no large table is searched."""

    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The types by name, with their labels."""
        return sorted({**{name: name for name in template_types()}, **type_labels()}.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those of the chosen type."""
        return queryset if self.value() is None else queryset.filter(type=self.value())


def type_labels() -> dict[str, str]:
    """The label of each notification type of the settings."""
    return {name: str(options.get("label", name)) for name, options in kit_settings.NOTIFICATION_TYPES.items()}


def template_types() -> list[str]:
    """The notification types that have a template."""
    return list(get_template_model().objects.order_by("type").values_list("type", flat=True).distinct())
