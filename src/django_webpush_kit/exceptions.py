"""What host code catches.

Caller mistakes derive from `WebPushKitError`. Configuration mistakes are Django's `ImproperlyConfigured`, on purpose
outside this base, so that no `except WebPushKitError` can swallow them. Delivery outcomes are recorded values, never
exceptions.
"""


class WebPushKitError(Exception):
    """A call to the library could not be carried out as asked. Without a message it says `default_message`."""

    default_message = "The call could not be carried out as asked."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default_message)


class TemplateNotFound(WebPushKitError):
    """No notification template exists for this type in any fallback language."""

    default_message = "No notification template exists for this type in any fallback language."


class TemplateRenderError(WebPushKitError):
    """A notification template could not be rendered with the given context."""

    default_message = "The notification template could not be rendered with the given context."


class PayloadTooLarge(WebPushKitError):
    """The message does not fit into the payload budget."""

    default_message = "The message does not fit into the payload budget."


class InvalidSubscription(WebPushKitError, ValueError):
    """The subscription's endpoint or keys are not usable.

    `field` names the part that is wrong: "endpoint", "p256dh", "auth", "expiration_time", "preferences", ...
    """

    default_message = "The endpoint or the keys of the subscription are not usable."

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class KeyMismatch(InvalidSubscription):
    """The endpoint is registered with other keys. Unsubscribe in the browser and subscribe anew."""

    default_message = "The endpoint is registered with other keys. Unsubscribe in the browser and subscribe anew."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, field="keys")


class TooManySubscriptions(WebPushKitError):
    """The user has as many active subscriptions as `MAX_SUBSCRIPTIONS_PER_USER` allows."""

    default_message = "The user has as many active subscriptions as MAX_SUBSCRIPTIONS_PER_USER allows."


class TokenVoid(WebPushKitError):
    """The subscription token is forged, or a newer one has taken its place."""

    default_message = "The subscription token is forged, or a newer one has taken its place."


class InvalidRecipient(WebPushKitError, TypeError):
    """`to` is neither a user, a subscription, nor an iterable or queryset of either."""

    default_message = "A recipient must be a user, a subscription, or an iterable or queryset of either."


class InvalidOption(WebPushKitError, ValueError):
    """An option of `send()` has a value that cannot be used; the message names it and says what is accepted."""

    default_message = "An option of send() has a value that cannot be used."
