"""Calendar days of the statistics: days in the setting `TIME_ZONE`, whatever time zone is active."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from datetime import timezone as datetime_timezone

from django.utils import timezone

from django_webpush_kit.conf import kit_settings

ONE_DAY = timedelta(days=1)


def start_of(day: date) -> datetime:
    """Return the first moment (UTC) of a day. If clocks skip midnight, it is the moment of the change."""
    start = datetime.combine(day, time.min, tzinfo=timezone.get_default_timezone())
    return start.astimezone(datetime_timezone.utc)


def end_of(day: date) -> datetime:
    """Return the first moment (UTC) of the next day."""
    return start_of(day + ONE_DAY)


def day_of(moment: datetime) -> date:
    """Return the day that contains a moment."""
    return moment.astimezone(timezone.get_default_timezone()).date()


def hour_of(moment: datetime) -> int:
    """Return the hour, 0 to 23, that clocks show at a moment."""
    return moment.astimezone(timezone.get_default_timezone()).hour


def today() -> date:
    """Return the current day."""
    return day_of(timezone.now())


def last_days(number: int) -> list[date]:
    """Return today and the `number` - 1 days before, oldest first."""
    last = today()
    return [last - back * ONE_DAY for back in range(number - 1, -1, -1)]


def oldest_kept_day() -> date:
    """Return the oldest day whose statistics are kept: as long as `STATISTICS_RETENTION_DAYS`, and as its rows."""
    return today() - timedelta(days=max(kit_settings.STATISTICS_RETENTION_DAYS, kit_settings.RETENTION_DAYS))
