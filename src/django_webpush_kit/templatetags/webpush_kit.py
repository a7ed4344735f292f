"""`{% load webpush_kit %}` and, in the head of a page, `{% webpush_kit_head %}`."""

from __future__ import annotations

from typing import Any

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.context import RequestContext
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from django_webpush_kit.api.preferences_form import form_context
from django_webpush_kit.conf import kit_settings, public_key
from django_webpush_kit.outbox.links import base_for_page
from django_webpush_kit.tokens import user_mark

register = template.Library()


@register.simple_tag(takes_context=True)
def webpush_kit_head(context: RequestContext, nonce: object = "", elements: bool = True) -> SafeString:
    """Load the browser module, and pass it the API's URL, the VAPID public key, a CSRF token and a mark of the user.

    `nonce` is set on the scripts. The default is the nonce that Django or django-csp created for this page. With
    `elements=False`, the script that defines `<webpush-toggle>` is not loaded.
    """
    request = context.get("request")
    base = base_for_page(request)
    metas = {
        "base": base,
        "config": f"{base}config",
        "key": public_key(),
        "scope": kit_settings.SERVICE_WORKER_SCOPE,
        # with hashed static files the elements do not know the names of these
        "module": static("django_webpush_kit/webpush-kit.js"),
        "texts": static(f"django_webpush_kit/webpush-kit-texts-{_text_language()}.js"),
    }
    if request is not None:
        metas |= {"csrf": get_token(request), "user": user_mark(_signed_in(request))}
    nonces = (nonce, context.get("csp_nonce"), getattr(request, "csp_nonce", None))
    # convert to text first: a lazy nonce is false until it is used
    nonce = next(filter(None, (str(one) for one in nonces if one is not None)), "")
    attributes = format_html(' nonce="{}"', nonce) if nonce else ""
    scripts = ["webpush-kit.js", "webpush-kit-elements.js"] if elements else ["webpush-kit.js"]
    return format_html(
        "{}{}",
        format_html_join("", '<meta name="webpush-kit-{}" content="{}">\n', metas.items()),
        format_html_join(
            "\n",
            '<script type="module" src="{}"{}></script>',
            ((static(f"django_webpush_kit/{script}"), attributes) for script in scripts),
        ),
    )


@register.simple_tag(takes_context=True)
def webpush_kit_preferences(context: RequestContext) -> SafeString:
    """Render `<webpush-preferences>` around a form that does the same without JavaScript.

    Needs `request` in the context. The template is `django_webpush_kit/preferences.html`.
    """
    request = context.get("request")
    if request is None:
        raise ImproperlyConfigured(
            "{% webpush_kit_preferences %} needs the request in the context. Add "
            '"django.template.context_processors.request" to the context processors, or render with a request.'
        )
    form = render_to_string("django_webpush_kit/preferences.html", form_context(request), request)
    return format_html("<webpush-preferences>{}</webpush-preferences>", mark_safe(form))  # noqa: S308  # a template's


TEXT_LANGUAGES = ("ar", "de", "en", "es", "fr", "ja", "pt-br")
"""The languages in which the elements come."""


def _text_language() -> str:
    """Return the one of TEXT_LANGUAGES that is nearest to the active language; English without one."""
    base = (get_language() or "").partition("-")[0]
    return next((language for language in TEXT_LANGUAGES if language.partition("-")[0] == base), "en")


def _signed_in(request: HttpRequest) -> Any:
    """The primary key of the signed-in user; None when nobody is."""
    user = getattr(request, "user", None)
    return user.pk if user is not None and user.is_authenticated else None
