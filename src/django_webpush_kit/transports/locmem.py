"""Sends nothing: keeps every request in a list, for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .base import PushRequest, PushResponse, Transport

sent: list[PushRequest] = []
"""Every request that any `LocmemTransport` of this process was given, oldest first."""

answers: deque[PushResponse] = deque()
"""The next answers, used up in order (their `id` is filled in); with none left the answer is 201."""


class LocmemTransport(Transport):
    """Appends requests to `sent` and answers from `answers`."""

    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        """Keep each request and yield its scripted answer."""
        for request in requests:
            sent.append(request)
            answer = answers.popleft() if answers else PushResponse(id=None, status=201)
            yield replace(answer, id=request.id)
