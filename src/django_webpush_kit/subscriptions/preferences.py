"""Preferences of a subscriber: categories by notification type, and quiet hours in local time.

    {"categories": {"marketing": false},
     "quiet_hours": {"enabled": true, "start": "22:00", "end": "08:00", "timezone": "Europe/Berlin"}}

The keys of `categories` are notification types. A missing type uses its `default` in `NOTIFICATION_TYPES`, or is on.
The time zone is the one in the quiet hours, or the subscription's, or `TIME_ZONE`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone as django_timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import retry_on_conflict, rows_of
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.option_checks import storable
from django_webpush_kit.rollups.opt_outs import count_opt_outs

MAX_CATEGORIES = 200

QUIET_SPREAD_SECONDS = 60
"""Notifications postponed to the end of quiet hours are spread over this time, to avoid a burst."""

BLOCKED = "Blocked by user preferences"
QUIET = "Quiet hours active"
QUIET_TOO_LONG = "Quiet hours last longer than the message is valid"


def check_preferences(value: object) -> dict[str, Any]:
    """Return validated preferences. Raises `InvalidSubscription` that names the invalid field."""
    preferences = _object("preferences", value)
    _only("preferences", preferences, {"categories", "quiet_hours"})
    checked: dict[str, Any] = {}
    if "categories" in preferences:
        checked["categories"] = _categories(preferences["categories"])
    if "quiet_hours" in preferences:
        checked["quiet_hours"] = _quiet_hours(preferences["quiet_hours"])
    return checked


def store_preferences(subscription: Any, preferences: Mapping[str, Any]) -> bool:
    """Replace only the preferences of a subscription.

    Returns False without a change if it was deleted or its owner differs from the owner of `subscription`.
    """
    checked = check_preferences(preferences)
    same = rows_of(type(subscription)).filter(pk=subscription.pk, user=subscription.user_id)
    changed = retry_on_conflict(lambda: same.update(preferences=checked, updated_at=django_timezone.now()))
    if changed:
        count_opt_outs(subscription, _switched_off(subscription.preferences, checked))
        subscription.preferences = checked
    return bool(changed)


def _switched_off(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the types that the subscriber accepted before and switches off now."""
    return [name for name, wanted in now.get("categories", {}).items() if not wanted and allows(before, name)]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a message may be sent: now, after `until`, or not at all for the reason `suppressed`."""

    until: datetime | None = None
    suppressed: str = ""


NOW = Decision()


def decide(
    preferences: Mapping[str, Any],
    time_zone: str,
    *,
    type: str,  # noqa: A002  # the field's own name
    due: datetime,
    deadline: datetime | None,
) -> Decision:
    """Apply a subscriber's preferences to a message of `type` that is due at `due`.

    A message without a deadline has a TTL of 0 ("now or never"), so it is never postponed.
    """
    if not allows(preferences, type):
        return Decision(suppressed=BLOCKED)
    end = quiet_until(preferences, time_zone, due)
    if end is None:
        return NOW
    if kit_settings.QUIET_HOURS == "suppress":
        return Decision(suppressed=QUIET)
    if deadline is None or end >= deadline:
        return Decision(suppressed=QUIET_TOO_LONG)
    room = (deadline - end) / 2
    spread = min(timedelta(seconds=random.uniform(0, QUIET_SPREAD_SECONDS)), room)  # noqa: S311  # no secret
    return Decision(until=end + spread)


def allows(preferences: Mapping[str, Any], type: str) -> bool:  # noqa: A002  # the field's own name
    """Return whether the subscriber accepts this notification type. Messages without a type are always accepted."""
    if not type:
        return True
    default = bool(kit_settings.NOTIFICATION_TYPES.get(type, {}).get("default", True))
    return bool(_part(preferences, "categories").get(type, default))


def quiet_until(preferences: Mapping[str, Any], time_zone: str, now: datetime) -> datetime | None:
    """Return the end (UTC) of the quiet hours that contain `now`, or None outside quiet hours."""
    window = _part(preferences, "quiet_hours")
    if not window.get("enabled"):
        return None
    start, end = _clock(window.get("start")), _clock(window.get("end"))
    if start is None or end is None:
        return None
    zone = _zone_of(window) or recipient_zone(time_zone)
    local = now.astimezone(zone).time()
    inside = start <= local < end if start < end else local >= start or local < end
    return _next_wall_clock(end, zone, now) if inside else None


def _part(preferences: Any, name: str) -> Mapping[str, Any]:
    """Return a part of stored preferences. The project may store anything there; it must not stop the batch."""
    part = preferences.get(name) if isinstance(preferences, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _zone_of(window: Mapping[str, Any]) -> ZoneInfo | None:
    name = window.get("timezone")
    return find_zone(name) if isinstance(name, str) else None


def recipient_zone(time_zone: str) -> ZoneInfo:
    """Return the subscription's time zone, or the site's if it is empty or unknown."""
    return find_zone(time_zone) or ZoneInfo(settings.TIME_ZONE)


@lru_cache(maxsize=1024)
def find_zone(name: str) -> ZoneInfo | None:
    """Return the IANA time zone with this name, or None."""
    if not name or len(name) > 64:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def wall_clock_instant(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the first time (UTC) at which clocks in `zone` show the naive `moment` or jump past it (DST)."""
    return min(_instants(moment, zone))


def _next_wall_clock(clock: time, zone: ZoneInfo, now: datetime) -> datetime:
    today = now.astimezone(zone).date()
    return min(
        instant
        for day in (today, today + timedelta(days=1))
        for instant in _instants(datetime.combine(day, clock), zone)
        if instant > now
    )


def _instants(moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the times when clocks in `zone` show `moment`: one, two if clocks go back, or the jump that skips it."""
    first, second = (moment.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    if first <= second:
        yield from {first, second}
        return
    before, after = second, first
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).replace(tzinfo=None) < moment:
            before = middle
        else:
            after = middle
    yield after.replace(microsecond=0)


_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _clock(value: object) -> time | None:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    return time(int(match[1]), int(match[2])) if match else None


def _categories(value: object) -> dict[str, bool]:
    categories = _object("preferences.categories", value)
    if len(categories) > MAX_CATEGORIES:
        raise _invalid("preferences.categories", f"has {len(categories)} keys; at most {MAX_CATEGORIES} are allowed")
    for name, wanted in categories.items():
        if not isinstance(name, str) or not 0 < len(name) <= 50 or name != storable(name):
            raise _invalid("preferences.categories", "must have notification types of 1 to 50 characters as keys")
        if not isinstance(wanted, bool):
            raise _invalid(f"preferences.categories.{name}", "must be true or false")
    return dict(categories)


def _quiet_hours(value: object) -> dict[str, Any]:
    window = _object("preferences.quiet_hours", value)
    _only("preferences.quiet_hours", window, {"enabled", "start", "end", "timezone"})
    enabled = window.get("enabled", True)
    if not isinstance(enabled, bool):
        raise _invalid("preferences.quiet_hours.enabled", "must be true or false")
    checked: dict[str, Any] = {"enabled": enabled}
    for name in ("start", "end"):
        if name not in window and not enabled:
            continue
        if _clock(window.get(name)) is None:
            raise _invalid(f"preferences.quiet_hours.{name}", 'must be a time such as "22:00"')
        checked[name] = window[name]
    if enabled and checked["start"] == checked["end"]:
        raise _invalid("preferences.quiet_hours.end", "must differ from start")
    zone = window.get("timezone")
    if zone not in (None, ""):
        if not isinstance(zone, str) or find_zone(zone) is None:
            raise _invalid("preferences.quiet_hours.timezone", 'must be an IANA time zone such as "Europe/Berlin"')
        checked["timezone"] = zone
    return checked


def _object(field: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _invalid(field, f"must be an object, not {type(value).__name__}")
    return value


def _only(field: str, value: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(value) - known:
        raise _invalid(field, f"accepts {' and '.join(sorted(known))}; {min(map(str, unknown))[:50]!r} is unknown")


def _invalid(field: str, problem: str) -> InvalidSubscription:
    return InvalidSubscription(f"{field} {problem}.", field=field)
