"""From claimed rows to requests: message, `pre_send`, payload, VAPID header."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from datetime import timedelta

from django.utils import timezone

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.delivery.outcomes import Recorder
from django_webpush_kit.delivery.transport import find_signer
from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.outbox.lifetime import ttl_header
from django_webpush_kit.outbox.payloads import PayloadEncoder, build_message
from django_webpush_kit.protocol.endpoints import Endpoint
from django_webpush_kit.protocol.message import Message
from django_webpush_kit.protocol.responses import TransportError
from django_webpush_kit.protocol.vapid import VapidSigner
from django_webpush_kit.signals import emit, pre_send
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.transports import PushRequest

UNKNOWN_KEY_WAIT = timedelta(minutes=5)
"""A worker may lack a key that others have, or that is configured soon: such rows wait, until their deadline."""

_logger = logging.getLogger("django_webpush_kit")


class RequestBuilder:
    """Makes the requests of a chunk, with the settings as they stand."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._encoder = PayloadEncoder()
        self._keyring = vapid_keyring()
        self._signers: dict[str, VapidSigner | None] = {}
        self._model = get_notification_model()
        self._has_receivers = pre_send.has_listeners(self._model)

    def requests(self, rows: Iterable[Row], stop_at: float) -> Iterator[tuple[Row, PushRequest]]:
        """Yield each row and its request, until none may start any more; what is left is released by the engine."""
        for row in rows:
            if time.monotonic() >= stop_at:
                return
            request = self._request(row)
            if request is not None:
                yield row, request

    def _request(self, row: Row) -> PushRequest | None:
        """The request of a row; None when the row is finished or postponed instead."""
        signer = self._signer(row.vapid_key_id)
        if signer is None:
            self._recorder.postponed(row, timezone.now() + UNKNOWN_KEY_WAIT, "Its VAPID key is not configured here")
            return None
        try:
            message = self._message(row)
            payload = None if message is None else self._encoder.encode(message, row.identity)
            endpoint = Endpoint.parse(row.endpoint)
            authorization = signer.authorization(endpoint)
        except PayloadTooLarge as error:
            self._recorder.finished(row, NotificationStatus.FAILED, str(error))
            return None
        except InvalidSubscription:
            self._recorder.finished(row, NotificationStatus.FAILED, TransportError.INVALID_ENDPOINT.value)
            return None
        except (ValueError, TypeError) as error:
            self._recorder.finished(row, NotificationStatus.FAILED, f"Not sendable: {type(error).__name__}")
            return None
        if payload is None:
            self._recorder.finished(row, NotificationStatus.CANCELLED, "Cancelled by a pre_send receiver")
            return None
        return PushRequest(
            id=row.pk,
            endpoint=row.endpoint,
            p256dh=row.p256dh,
            auth=row.auth,
            payload=payload,
            ttl=ttl_header(row.options, row.expires_at),
            urgency=row.options.urgency_header,
            topic=row.topic,
            vapid_authorization=authorization,
            parsed_endpoint=endpoint,
        )

    def _signer(self, key_id: str) -> VapidSigner | None:
        if key_id not in self._signers:
            self._signers[key_id] = find_signer(self._keyring, key_id)
            if self._signers[key_id] is None:
                _logger.error(
                    "No VAPID key with the id %s is configured; put it into VAPID_FALLBACK_PRIVATE_KEYS. "
                    "The messages to its subscriptions wait.",
                    key_id,
                )
        return self._signers[key_id]

    def _message(self, row: Row) -> Message | None:
        data, options = row.data, row.options
        if self._has_receivers:
            data, options = deepcopy((data, options))  # a receiver may change them, and other rows share them
        message = build_message(
            title=row.title,
            body=row.body,
            data=data,
            language=row.language,
            options=options,
            identity=row.identity,
        )
        if not self._has_receivers:
            return message
        notification = self._model.objects.get(pk=row.pk)
        answers = emit(pre_send, self._model, notification=notification, message=message)
        return None if any(answer is False for answer in answers) else message
