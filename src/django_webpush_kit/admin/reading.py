"""Base classes of the model admins: read-only pages, actions instead of edits, fast lists of large tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.bases import Paginator
from django_webpush_kit.admin.confirmation import Question, ask
from django_webpush_kit.admin.contained import ContainedAdmin
from django_webpush_kit.admin.numbers import formatted
from django_webpush_kit.admin.pages import own_page_context
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.models import get_template_model

COUNT_LIMIT = 10_000
"""Maximum number of rows that a list counts, because an exact count of millions of rows is slow.

Actions on "all" rows of a longer list are refused, because the list cannot show how many rows they would change.
"""


LANE_HELP = _(
    "Workers send high lanes before normal and low ones. A message is isolated, and sent alone, after workers died "
    "while they sent it."
)


class BoundedPaginator(Paginator):
    """Counts at most `COUNT_LIMIT` rows."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or `COUNT_LIMIT` if there are more."""
        return min(self._counted, COUNT_LIMIT)

    @property
    def has_more(self) -> bool:
        """Return whether there are more rows than `COUNT_LIMIT`."""
        return self._counted > COUNT_LIMIT

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        return len(rows[: COUNT_LIMIT + 1]) if isinstance(rows, list) else count_up_to(rows, COUNT_LIMIT + 1)


def count_up_to(rows: QuerySet[Any], limit: int) -> int:
    """Return the number of rows, or `limit` if there are more."""
    return rows.order_by()[:limit].count()


def too_long() -> str:
    """Return the message that refuses an action on "all" rows."""
    text = _("Nothing was changed: the list has more than %(limit)s rows. Filter the list first.")
    return text % {"limit": formatted(COUNT_LIMIT)}


class ReadingAdmin(ContainedAdmin):
    """Read-only pages: only the library writes these rows. Staff view them and run actions on them.

    Actions require the permission `act`, which the permission to change the model includes.
    """

    list_note: Any = ""
    """A sentence above the list that says what its rows are."""

    change_list_template = "django_webpush_kit/admin/change_list.html"
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # the counts of "Show counts" would read whole tables
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: only `services` creates rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Return False: see `has_act_permission`."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Return whether staff may view the model or act on it."""
        return super().has_view_permission(request, obj) or self.has_act_permission(request)

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Return whether staff have the permission to change the model."""
        codename = get_permission_codename("change", self.opts)
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{codename}"))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Refuse an action on "all" rows if the list is too long to count."""
        is_on_all = request.POST.get("select_across", "0") not in ("", "0")
        if is_on_all and count_up_to(queryset, COUNT_LIMIT + 1) > COUNT_LIMIT:
            self.message_user(request, too_long(), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        response: HttpResponse | None = super().response_action(request, queryset, *args, **kwargs)
        return response

    def ask(
        self, request: HttpRequest, count: int, title: Any, consequences: Sequence[Any], button: Any
    ) -> HttpResponse | None:
        """Return the confirmation page of an action that changes `count` rows, or None if it was confirmed."""
        return ask(request, Question(title, consequences, button, count), own_page_context(self, request))


class TypeFilter(admin.SimpleListFilter):
    """Filter by notification type. The choices come from settings and templates, not from a scan of a large table."""

    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the types with their labels, sorted by name."""
        names = {name: name for name in (*template_types(), request.GET.get(self.parameter_name)) if name}
        return sorted({**names, **type_labels()}.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the selected type."""
        value = self.value()
        return queryset if value is None else queryset.filter(type=value.replace("\x00", ""))


@admin.display(description=_("type"), ordering="type")
def type_label(row: Any) -> str:
    """Return the label of a row's notification type, for lists with a `TypeFilter`."""
    return type_labels().get(row.type, row.type) or "-"


def may_view(request: HttpRequest, model: type[models.Model]) -> bool:
    """Return whether staff have the permission to view or to change a model."""
    options, user = model._meta, cast("Any", request.user)
    codenames = [get_permission_codename(action, options) for action in ("view", "change")]
    return any(user.has_perm(f"{options.app_label}.{codename}") for codename in codenames)


def type_labels() -> dict[str, str]:
    """Return the label of each notification type in the settings."""
    return {name: str(options.get("label", name)) for name, options in kit_settings.NOTIFICATION_TYPES.items()}


def template_types() -> list[str]:
    """Return the notification types that have a template."""
    return list(get_template_model().objects.order_by("type").values_list("type", flat=True).distinct())
