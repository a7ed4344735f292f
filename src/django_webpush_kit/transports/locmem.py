"""A transport for tests that stores requests in a list instead of sending them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .base import PushRequest, PushResponse, Transport

sent: list[PushRequest] = []
"""All requests of this process, oldest first."""

answers: deque[PushResponse] = deque()
"""Scripted responses, used in order with the `id` of the request. Without any, the status is 201."""


class LocmemTransport(Transport):
    """Appends requests to `sent`, and takes responses from `answers`."""

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        """Store each request and yield its scripted response."""
        for request in requests:
            sent.append(request)
            answer = answers.popleft() if answers else PushResponse(id=None, status=201)
            yield replace(answer, id=request.id)
