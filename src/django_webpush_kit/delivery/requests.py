"""Build the requests of claimed rows: message, `pre_send` signal, payload and VAPID header."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from datetime import timedelta

from django.utils import timezone

from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.database import outbox_database
from django_webpush_kit.delivery.claiming import Row
from django_webpush_kit.delivery.containment import raise_if_shared
from django_webpush_kit.delivery.outcomes import Recorder
from django_webpush_kit.delivery.transport import find_signer
from django_webpush_kit.error_reports import log_error
from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.outbox.lifetime import ttl_header
from django_webpush_kit.outbox.payloads import PayloadEncoder, build_message
from django_webpush_kit.protocol.endpoints import Endpoint
from django_webpush_kit.protocol.message import Message
from django_webpush_kit.protocol.responses import TransportError
from django_webpush_kit.protocol.vapid import VapidSigner
from django_webpush_kit.signals import pre_send
from django_webpush_kit.states import NotificationStatus
from django_webpush_kit.transports import PushRequest

UNKNOWN_KEY_WAIT = timedelta(minutes=5)
"""Wait of rows whose VAPID key is unknown to this worker. Other workers may have it, or it may be configured soon."""

_logger = logging.getLogger(__name__)


class RequestBuilder:
    """Builds the requests of a chunk with the current settings."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._encoder = PayloadEncoder()
        self._keyring = vapid_keyring()
        self._signers: dict[str, VapidSigner | None] = {}
        self._model = get_notification_model()
        self._has_receivers = pre_send.has_listeners(self._model)

    def requests(self, rows: Iterable[Row], stop_at: float) -> Iterator[tuple[Row, PushRequest]]:
        """Yield rows with their requests until `stop_at`. The engine releases the remaining rows."""
        for row in rows:
            if time.monotonic() >= stop_at:
                return
            request = self._request(row)
            if request is not None:
                yield row, request

    def _request(self, row: Row) -> PushRequest | None:
        """Return the request of a row, or None if the row was ended or postponed."""
        signer = self._signer(row.vapid_key_id)
        if signer is None:
            self._recorder.postponed(row, timezone.now() + UNKNOWN_KEY_WAIT, "Its VAPID key is not configured here")
            return None
        try:
            return self._build(row, signer)
        except _ReceiverError as failure:
            self._recorder.failed(row.pk, "A pre_send receiver", failure.error)
        except PayloadTooLarge as error:
            self._recorder.ended(row, NotificationStatus.FAILED, str(error))
        except InvalidSubscription:
            self._recorder.ended(row, NotificationStatus.FAILED, TransportError.INVALID_ENDPOINT.value)
        except Exception as error:  # noqa: BLE001 - contained
            raise_if_shared(error)
            self._recorder.failed(row.pk, "Building the message", error)
        return None

    def _build(self, row: Row, signer: VapidSigner) -> PushRequest | None:
        payload = self._payload(row)
        if payload is None:
            self._recorder.ended(row, NotificationStatus.CANCELLED, "Cancelled by a pre_send receiver")
            return None
        endpoint = Endpoint.parse(row.endpoint)
        return PushRequest(
            id=row.pk,
            endpoint=row.endpoint,
            p256dh=row.p256dh,
            auth=row.auth,
            payload=payload,
            ttl=ttl_header(row.options, row.expires_at),
            urgency=row.options.urgency_header,
            topic=row.topic,
            vapid_authorization=signer.authorization(endpoint),
            parsed_endpoint=endpoint,
        )

    def _signer(self, key_id: str) -> VapidSigner | None:
        if key_id not in self._signers:
            self._signers[key_id] = find_signer(self._keyring, key_id)
            if self._signers[key_id] is None:
                log_error(
                    _logger,
                    "No VAPID key with the id %s is configured; put it into VAPID_FALLBACK_PRIVATE_KEYS. "
                    "The messages to its subscriptions wait.",
                    key_id,
                )
        return self._signers[key_id]

    def _payload(self, row: Row) -> bytes | None:
        """Return the payload of a row, or None if a `pre_send` receiver cancels the row."""
        if not self._has_receivers:
            return self._encoder.encode_stored(row.message, row.identity)
        message = self._received_message(row)
        return None if message is None else self._encoder.encode(message, row.identity)

    def _received_message(self, row: Row) -> Message | None:
        """Send `pre_send`. Return the message with the receivers' changes, or None if one of them cancels the row."""
        message = build_message(deepcopy(row.message), row.identity)  # rows share it, and a receiver may change it
        notification = self._model.objects.using(outbox_database()).get(pk=row.pk)
        answers = pre_send.send_robust(self._model, notification=notification, message=message)
        for _receiver, answer in answers:
            if isinstance(answer, Exception):
                raise _ReceiverError(answer)
        return None if any(answer is False for _receiver, answer in answers) else message


class _ReceiverError(Exception):
    """A receiver of `pre_send` raised `error`: the cause is the project's code, not the row."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error
