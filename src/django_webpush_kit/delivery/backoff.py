"""Backoff: the wait between a failed attempt and the next one."""

from __future__ import annotations

import random

from django_webpush_kit.conf import kit_settings

MAX_EXPONENT = 30


def backoff_seconds(retries: int, *, base: float | None = None, cap: float | None = None) -> float:
    """Return a wait in seconds with full jitter: uniform between 0 and min(cap, base * 2 ** retries).

    Full jitter spreads retries after an outage best; see "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    base = kit_settings.RETRY_BASE_SECONDS if base is None else base
    cap = kit_settings.RETRY_CAP_SECONDS if cap is None else cap
    return random.uniform(0, min(cap, base * 2 ** min(retries, MAX_EXPONENT)))  # noqa: S311  # no secret
