"""Forms with a preview panel. It is updated while staff type, or by a button if scripts do not run."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.forms.widgets import Script
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from django_webpush_kit.admin.contained import ContainedAdmin
from django_webpush_kit.option_checks import storable

PREVIEW_BUTTON = "_preview"
"""The name of the button that shows the form again, with what was typed, instead of saving it."""


class PreviewingAdmin(ContainedAdmin):
    """A model admin whose form has a panel. Subclasses give the panel's template and context."""

    panel_template = ""

    class Media:
        css = {"all": ("django_webpush_kit/admin.css", "django_webpush_kit/admin/preview.css")}
        js = (Script("django_webpush_kit/admin/live.js", defer=True),)

    @abstractmethod
    def panel_context(self, request: HttpRequest, form: Any) -> dict[str, Any]:
        """Return the context of the panel for a form that was validated, or that is unbound."""

    def page_context(self, request: HttpRequest, form: Any, obj: Any) -> dict[str, Any]:
        """Return the context of the page beside the form: the panel. `obj` is None for a new row."""
        return {**self.panel_context(request, form), "preview_url": self._preview_url(obj)}

    def shows_again(self, request: HttpRequest) -> bool:
        """Return whether the posted form is shown again instead of being saved."""
        return PREVIEW_BUTTON in request.POST

    def get_urls(self) -> list[Any]:
        """Add the pages that render the panel."""
        view = self.admin_site.admin_view(self.preview_view)
        return [
            path("preview/", view, name=self._preview_name),
            path("<path:object_id>/preview/", view, name=f"{self._preview_name}_change"),
            *super().get_urls(),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form. If it is only shown again, it is never valid."""
        form = super().get_form(request, obj, change=change, **kwargs)
        if not self.shows_again(request):
            return form

        class ShownAgain(form):  # type: ignore[misc,valid-type]  # a base known at run time only
            def is_valid(self) -> bool:
                super().is_valid()
                return False

        return ShownAgain

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add what `page_context` returns."""
        context |= self.page_context(request, context["adminform"].form, obj)
        return super().render_change_form(request, context, add=add, change=change, form_url=form_url, obj=obj)

    @method_decorator(require_POST)
    def preview_view(self, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        """Render the panel for the posted form. Nothing is saved."""
        obj = None
        if object_id is not None:
            obj = self.get_object(request, unquote(object_id))
            if obj is None:
                raise Http404
        is_allowed = self.has_view_or_change_permission(request, obj) if obj else self.has_add_permission(request)
        if not is_allowed:
            raise PermissionDenied
        form = self.get_form(request, obj, change=obj is not None)(request.POST, instance=obj)
        form.is_valid()
        return TemplateResponse(request, self.panel_template, self.panel_context(request, form))

    @property
    def _preview_name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_preview"

    def _preview_url(self, obj: Any) -> str:
        name = f"admin:{self._preview_name}"
        try:
            if obj is None:
                return reverse(name, current_app=self.admin_site.name)
            return reverse(f"{name}_change", args=[obj.pk], current_app=self.admin_site.name)
        except NoReverseMatch:  # the admin site has no URLs
            return ""


def field_problems(form: Any) -> list[tuple[str, list[str]]]:
    """Return the errors of a bound form by the label of their field."""
    return [
        (
            str(form.fields[name].label or name) if name in form.fields else "",
            [storable(str(problem)) for problem in problems],
        )
        for name, problems in form.errors.items()
    ]
