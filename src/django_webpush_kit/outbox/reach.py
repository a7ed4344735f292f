"""Count the people and browsers of an audience, by language and push service, in bounded time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import BooleanField, Case, Value, When

from django_webpush_kit.outbox.audiences import audience_candidates

READ_LIMIT = 50_000
"""Maximum number of subscriptions that one count reads."""

READ_SLICE = 5_000
"""Number of subscriptions read by the first statement. Its time says how many the next one may read."""

READ_SECONDS = 0.5
"""Maximum time of a count. A larger audience is counted in part."""


@dataclass(slots=True)
class Reach:
    """The size of an audience now.

    `opted_out` counts the browsers of the audience that do not want the notification type. If `is_partial` is true,
    only the first subscriptions were counted, and every figure is a minimum. `languages` and `push_services` give the
    number of browsers by name, the most frequent first; an unknown language is "".
    """

    browsers: int = 0
    opted_out: int = 0
    anonymous: int = 0
    is_partial: bool = False
    users: set[Any] = field(default_factory=set, repr=False)
    languages: Counter[str] = field(default_factory=Counter)
    push_services: Counter[str] = field(default_factory=Counter)

    @property
    def people(self) -> int:
        """Return the number of users. A browser without a user counts as one person."""
        return len(self.users) + self.anonymous

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Count subscriptions: (primary key, user, language, push service, whether it wants the type)."""
        wanted = [row for row in rows if row[4]]
        users = [user for _key, user, *_others in wanted]
        self.opted_out += len(rows) - len(wanted)
        self.browsers += len(wanted)
        self.anonymous += users.count(None)
        self.users.update(user for user in users if user is not None)
        self.languages.update(row[2].lower() for row in wanted)
        self.push_services.update(row[3] for row in wanted)


def count_reach(name: str, type_: str) -> Reach:
    """Count the audience `name` of a notification type.

    Raises whatever the audience's function in `AUDIENCES` raises.
    """
    candidates, wants = audience_candidates(name, type_)
    candidates = candidates.annotate(
        _is_wanted=Case(When(wants, then=Value(True)), default=Value(False), output_field=BooleanField())
    )
    reach, after, read, size = Reach(), None, 0, READ_SLICE
    started = time.monotonic()
    while True:
        rows = candidates if after is None else candidates.filter(pk__gt=after)
        size = min(size, READ_LIMIT - read)
        # one row more than is counted says whether there are others
        page = list(
            rows.order_by("pk").values_list("pk", "user_id", "language", "push_service", "_is_wanted")[: size + 1]
        )
        reach.add(page[:size])
        read += size
        if len(page) <= size:
            return reach
        seconds = time.monotonic() - started
        if read >= READ_LIMIT or seconds >= READ_SECONDS:
            reach.is_partial = True
            return reach
        after = page[size - 1][0]
        size = max(READ_SLICE, int(read * (READ_SECONDS - seconds) / max(seconds, 0.001)))
