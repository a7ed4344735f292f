"""Exceptions that your code can catch.

Mistakes of the caller derive from `WebPushKitError`. Configuration errors are Django's `ImproperlyConfigured`, so that
`except WebPushKitError` does not hide them. Delivery outcomes are recorded values, never exceptions.
"""


class WebPushKitError(Exception):
    """Base of all exceptions for mistakes of the caller. The message defaults to `default_message`."""

    default_message = "The call failed because of an invalid argument."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.default_message)


class TemplateNotFound(WebPushKitError):
    """No notification template exists for this type in any fallback language."""

    default_message = "No notification template exists for this type in any fallback language."


class TemplateRenderError(WebPushKitError):
    """A notification template could not be rendered with the given context."""

    default_message = "The notification template could not be rendered with the given context."


class PayloadTooLarge(WebPushKitError):
    """The message exceeds the maximum payload size. `size` is its size in bytes of JSON, or 0 if it is unknown."""

    default_message = "The message exceeds the maximum payload size."

    def __init__(self, message: str | None = None, *, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


class InvalidSubscription(WebPushKitError, ValueError):
    """The subscription's data is invalid.

    `field` names the invalid part: "endpoint", "p256dh", "auth", "expiration_time", "preferences", ...
    """

    default_message = "The endpoint or the keys of the subscription are invalid."

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class KeyMismatch(InvalidSubscription):
    """The endpoint is registered with other keys. Unsubscribe in the browser and subscribe again."""

    default_message = "The endpoint is registered with other keys. Unsubscribe in the browser and subscribe again."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, field="keys")


class TooManySubscriptions(WebPushKitError):
    """The user has reached the limit of active subscriptions, `MAX_SUBSCRIPTIONS_PER_USER`."""

    default_message = "The user has reached the limit of active subscriptions, MAX_SUBSCRIPTIONS_PER_USER."


class TokenVoid(WebPushKitError):
    """The subscription token is invalid, or a newer token has replaced it."""

    default_message = "The subscription token is invalid, or a newer token has replaced it."


class InvalidRecipient(WebPushKitError, TypeError):
    """`to` is neither a user, a subscription, nor an iterable or queryset of either."""

    default_message = "A recipient must be a user, a subscription, or an iterable or queryset of either."


class InvalidOption(WebPushKitError, ValueError):
    """An option of `send()` has an invalid value. The message names the option and the accepted values."""

    default_message = "An option of send() has an invalid value."
