"""`PushNotificationService`: a legacy API that returns dicts. Use `services.send` and `send_templated` in new code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox.batches import SendResult, write_batch
from django_webpush_kit.outbox.drafts import PlainDraft, TemplateDraft
from django_webpush_kit.states import ENDED_UNSENT
from django_webpush_kit.subscriptions.preferences import BLOCKED


class PushNotificationService:
    """Wraps `send` and `send_templated`. Returns `{"success": True, ...}` or `{"success": False, "error"}`."""

    def send_notification(
        self,
        subscription: Any,
        title: str,
        body: str = "",
        data: dict[str, Any] | None = None,
        template_type: str | None = None,
    ) -> dict[str, Any]:
        """Queue one message for one subscription. `notification_id` is the primary key of its row."""
        return self._as_dict(_send(subscription, title, body, data, template_type))

    def send_templated_notification(
        self, subscription: Any, template_type: str, context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Queue a template's message for one subscription. `notification_id` is the primary key of its row."""
        return self._as_dict(_send_templated(subscription, template_type, context))

    def send_bulk_notifications(
        self,
        subscriptions: Any,
        title: str,
        body: str = "",
        data: dict[str, Any] | None = None,
        template_type: str | None = None,
    ) -> dict[str, Any]:
        """Queue one message for many subscriptions. `sent` counts queued rows, `blocked` recipients who opted out."""
        result = _send(subscriptions, title, body, data, template_type)
        return {
            "success": True,
            "batch": str(result.batch),
            "sent": result.queued + result.deferred,
            "blocked": result.suppressed,
        }

    def _as_dict(self, result: SendResult) -> dict[str, Any]:
        row = result.notifications.first()
        if row is None:
            reason = "The message could not be stored" if result.failed else "The subscription is not active"
            return {"success": False, "error": reason}
        if row.status in ENDED_UNSENT:
            return {"success": False, "error": row.failure_reason or BLOCKED, "notification_id": row.pk}
        return {"success": True, "notification_id": row.pk}


def _send(to: Any, title: str, body: str, data: dict[str, Any] | None, template_type: str | None) -> SendResult:
    options = SendOptions.parse({"data": data})
    return write_batch(to, lambda: PlainDraft(title, body, template_type or "", options), options)


def _send_templated(to: Any, template_type: str, context: Mapping[str, Any] | None) -> SendResult:
    options = SendOptions()
    return write_batch(to, lambda: TemplateDraft(template_type, context, options), options)
