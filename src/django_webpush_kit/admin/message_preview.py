"""Show a notification as browsers show it: the texts of a template with sample values, its size and its problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import get_language_info
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.error_reports import message_of
from django_webpush_kit.exceptions import PayloadTooLarge, WebPushKitError
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.option_checks import storable
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox.drafts import TemplateDraft
from django_webpush_kit.outbox.payloads import PayloadEncoder, StoredMessage
from django_webpush_kit.templating.compiled import RenderedText
from django_webpush_kit.templating.preview import preview, sample_context


@dataclass(frozen=True, slots=True)
class Platform:
    """How one system shows notifications: the parts that it leaves out, and a note about that."""

    name: str
    label: str
    max_buttons: int
    shows_image: bool
    note: str | Promise

    def shown(self, message: MessagePreview) -> dict[str, Any]:
        """Return what the mock-up of this system shows of a message."""
        return {
            "platform": self,
            "buttons": message.text.actions[: self.max_buttons],
            "image": message.image if self.shows_image else "",
            "note": self.note if message.text.actions or message.image else "",
        }


PLATFORMS = (
    Platform("android", "Android", 2, True, ""),
    Platform("ios", "iOS", 0, False, _("iOS shows neither buttons nor images.")),
    Platform("windows", "Windows", 2, True, ""),
    Platform("macos", "macOS", 2, False, _("Images are not shown; Safari shows no buttons either.")),
)


@dataclass(slots=True)
class MessagePreview:
    """One rendered message.

    `size` is the number of bytes of JSON with the longest possible identity, `budget` the maximum. `problems` are
    sentences; if the texts cannot be rendered, they are empty.
    """

    language: str = ""
    text: RenderedText = field(default_factory=lambda: RenderedText(""))
    options: SendOptions = field(default_factory=SendOptions)
    size: int = 0
    budget: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def language_name(self) -> Any:
        """Return the name of the language, or its tag if Django does not know it."""
        if not self.language:
            return _("default language")
        try:
            return get_language_info(self.language.lower().replace("_", "-"))["name_translated"]
        except KeyError:
            return self.language

    @property
    def icon(self) -> str:
        """Return the icon if it is a path on this site. The page loads nothing from elsewhere."""
        return _own_path(self.text.icon or self.options.icon)

    @property
    def image(self) -> str:
        """Return the image if it is a path on this site."""
        return _own_path(self.options.image)

    @property
    def is_too_large(self) -> bool:
        """Return whether the message is larger than its budget."""
        return self.size > self.budget

    @property
    def mockups(self) -> list[dict[str, Any]]:
        """Return what each system shows."""
        return [platform.shown(self) for platform in PLATFORMS]


def preview_messages(
    templates: Iterable[Any], context: Mapping[str, Any], options: Mapping[str, Any]
) -> list[MessagePreview]:
    """Return what `preview_message` returns for each template. Settings are read once for all of them."""
    encoder = PayloadEncoder()
    return [preview_message(template, context, options, encoder=encoder) for template in templates]


def preview_message(
    template: Any,
    context: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    encoder: PayloadEncoder | None = None,
) -> MessagePreview:
    """Render a template, which may be unsaved and invalid, with sample values for variables that `context` lacks.

    Never raises: errors are listed in `problems`.
    """
    encoder = encoder or PayloadEncoder()
    shown = MessagePreview(language=storable(template.language), budget=encoder.budget)
    context = context or {}
    # the option `language` would choose another template
    options = {name: value for name, value in (options or {}).items() if name != "language"}
    try:
        shown.text = _storable_text(preview(template, context))
        values = {**sample_context(template), **context}
        # a template that names the recipient gets the sample values of `recipient`
        draft = TemplateDraft(template.type, values, SendOptions.parse(options), templates=[template], encoder=encoder)
        content = draft.content_for(get_subscription_model()(language=template.language))
        shown.options = content.options
        stored = StoredMessage(
            content.title, content.body, content.language, content.options.data or {}, content.options
        )
        shown.size = encoder.size_of(stored)
    except PayloadTooLarge as error:
        shown.size = error.size
        shown.problems.append(str(error))
    except WebPushKitError as error:
        shown.problems.append(storable(str(error)))
    except Exception as error:  # noqa: BLE001 - shown instead
        shown.problems.append(message_of(error))
    return shown


def _storable_text(text: RenderedText) -> RenderedText:
    """Return the texts without characters that a page cannot contain."""
    actions = [{key: storable(value) for key, value in action.items()} for action in text.actions]
    return RenderedText(storable(text.title), storable(text.body), storable(text.url), storable(text.icon), actions)


def _own_path(url: str | None) -> str:
    return url if url and url.startswith("/") and not url.startswith(("//", "/\\")) else ""
