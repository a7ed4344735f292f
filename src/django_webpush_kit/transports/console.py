"""A transport for development that prints messages instead of sending them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO

from django_webpush_kit.protocol.endpoints import EndpointPolicy, push_service

from .base import PushRequest, PushResponse, Transport


class ConsoleTransport(Transport):
    """Prints push service, headers and payload of each message to `stream` (default: standard output)."""

    def __init__(self, *, endpoint_policy: EndpointPolicy | None = None, stream: TextIO | None = None) -> None:
        super().__init__(endpoint_policy=endpoint_policy)
        self.stream = stream

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        """Print each request and yield a response with status 201."""
        for request in requests:
            stream = self.stream or sys.stdout
            stream.write(_readable(request))
            stream.flush()
            yield PushResponse(id=request.id, status=201)


def _readable(request: PushRequest) -> str:
    topic = f", topic {request.topic}" if request.topic else ""
    head = f"Web push to {push_service(request.endpoint)}: ttl {request.ttl}, urgency {request.urgency}{topic}"
    try:
        text = json.dumps(json.loads(request.payload), ensure_ascii=False, indent=2)
    except ValueError:
        text = repr(request.payload)
    return f"{head}\n{text}\n{'-' * 79}\n"
