"""What subscribers want: categories, and quiet hours on their own wall clock."""

from datetime import datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.subscriptions.preferences import (
    BLOCKED,
    MAX_CATEGORIES,
    QUIET,
    QUIET_SPREAD_SECONDS,
    QUIET_TOO_LONG,
    Decision,
    allows,
    check_preferences,
    decide,
    find_zone,
    quiet_until,
    recipient_zone,
    wall_clock_instant,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",  # half an hour of daylight saving time
    "Asia/Kathmandu",
    "Africa/Casablanca",  # clocks go back for Ramadan
    "America/Santiago",  # changes at midnight
    "Pacific/Chatham",
)


def quiet(start="22:00", end="08:00", **more):
    return {"quiet_hours": {"enabled": True, "start": start, "end": end, **more}}


def at(zone, *moment, fold=0):
    return datetime(*moment, tzinfo=ZoneInfo(zone), fold=fold).astimezone(timezone.utc)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=8), values, max_size=3),
    max_leaves=6,
)
clocks = st.times().map(lambda value: f"{value:%H:%M}")
near_preferences = st.fixed_dictionaries(
    {},
    optional={
        "categories": json_values | st.dictionaries(st.sampled_from(["news", ""]), json_values),
        "quiet_hours": json_values
        | st.fixed_dictionaries(
            {"enabled": st.booleans() | json_values},
            optional={
                "start": clocks | json_values,
                "end": clocks | json_values,
                "timezone": st.sampled_from(ZONES) | json_values,
            },
        ),
    },
)


class TestValidation:
    @pytest.mark.parametrize(
        "preferences",
        [
            {},
            {"categories": {}},
            {"categories": {"news": False, "orders": True}},
            quiet(),
            quiet(timezone="Europe/Berlin"),
            {"quiet_hours": {"enabled": False}},
            {"quiet_hours": {"enabled": False, "start": "08:00", "end": "08:00"}},
        ],
    )
    def test_values_that_are_accepted(self, preferences):
        assert check_preferences(preferences) == preferences

    def test_quiet_hours_are_enabled_by_default_and_an_empty_time_zone_is_omitted(self):
        window = {"start": "22:00", "end": "08:00"}
        assert check_preferences({"quiet_hours": {**window, "timezone": ""}}) == {
            "quiet_hours": {"enabled": True, **window}
        }

    @pytest.mark.parametrize(
        ("preferences", "field"),
        [
            (None, "preferences"),
            ([], "preferences"),
            ("x", "preferences"),
            ({"colour": "red"}, "preferences"),
            ({1: 2}, "preferences"),
            ({"categories": []}, "preferences.categories"),
            ({"categories": {"news": 1}}, "preferences.categories.news"),
            ({"categories": {"": True}}, "preferences.categories"),
            ({"categories": {"x" * 51: True}}, "preferences.categories"),
            ({"categories": {"a\x00": True}}, "preferences.categories"),
            ({"categories": {"\ud800": True}}, "preferences.categories"),
            ({"categories": {7: True}}, "preferences.categories"),
            ({"categories": {str(n): True for n in range(MAX_CATEGORIES + 1)}}, "preferences.categories"),
            ({"quiet_hours": "22:00"}, "preferences.quiet_hours"),
            (quiet(days="all"), "preferences.quiet_hours"),
            (quiet(enabled="yes"), "preferences.quiet_hours.enabled"),
            ({"quiet_hours": {"enabled": True, "end": "08:00"}}, "preferences.quiet_hours.start"),
            (quiet(start="24:00"), "preferences.quiet_hours.start"),
            (quiet(start=22), "preferences.quiet_hours.start"),
            (quiet(start="8:00"), "preferences.quiet_hours.start"),
            (quiet(start=" 8:00"), "preferences.quiet_hours.start"),
            (quiet(start="\u0660\u0668:00"), "preferences.quiet_hours.start"),
            (quiet(end="08:60"), "preferences.quiet_hours.end"),
            (quiet(end="08:00\n"), "preferences.quiet_hours.end"),
            (quiet(end="22:00"), "preferences.quiet_hours.end"),
            (quiet(timezone="Mars/Olympus"), "preferences.quiet_hours.timezone"),
            (quiet(timezone=["UTC"]), "preferences.quiet_hours.timezone"),
            (quiet(timezone=False), "preferences.quiet_hours.timezone"),
            (quiet(timezone=[]), "preferences.quiet_hours.timezone"),
        ],
    )
    def test_errors_name_the_field(self, preferences, field):
        with pytest.raises(InvalidSubscription) as refusal:
            check_preferences(preferences)
        assert refusal.value.field == field
        assert str(refusal.value).startswith(field)

    @pytest.mark.thorough
    @given(json_values | near_preferences)
    def test_any_posted_value_is_refused_or_usable(self, posted):
        try:
            stored = check_preferences(posted)
        except InvalidSubscription:
            return
        assert check_preferences(stored) == stored
        decide(stored, "Europe/Berlin", type="news", due=NOON, deadline=NOON)

    @given(json_values | near_preferences, st.text(max_size=10))
    def test_no_stored_value_stops_delivery(self, stored, time_zone):
        decision = decide(stored, time_zone, type="news", due=NOON, deadline=NOON + timedelta(days=2))
        assert isinstance(decision, Decision)


class TestCategories:
    @pytest.mark.parametrize(
        ("categories", "default", "expected"),
        [
            ({}, True, True),
            ({}, False, False),
            ({"news": True}, False, True),
            ({"news": False}, True, False),
            ({"other": False}, True, True),
        ],
    )
    def test_a_type_follows_the_choice_of_the_subscriber_or_its_default(
        self, push_settings, categories, default, expected
    ):
        push_settings(NOTIFICATION_TYPES={"news": {"default": default}})
        assert allows({"categories": categories}, "news") is expected

    def test_unregistered_types_and_messages_without_a_type_are_allowed(self):
        assert allows({}, "unheard-of")
        assert allows({"categories": {"": False}}, "")


class TestDecision:
    """Whether a message is sent, deferred or suppressed."""

    def test_a_blocked_type_is_suppressed(self):
        preferences = {"categories": {"news": False}}
        assert decide(preferences, "", type="news", due=NOON, deadline=NOON).suppressed == BLOCKED

    def test_outside_quiet_hours_a_message_is_sent_at_once(self):
        assert decide(quiet(), "UTC", type="news", due=NOON, deadline=NOON) == Decision()

    def test_messages_deferred_by_quiet_hours_are_spread_over_time(self):
        due = NOON.replace(hour=23)
        end = NOON.replace(hour=8) + timedelta(days=1)
        moments = {
            decide(quiet(), "UTC", type="news", due=due, deadline=due + timedelta(days=1)).until for _ in range(20)
        }
        assert all(end <= moment <= end + timedelta(seconds=QUIET_SPREAD_SECONDS) for moment in moments)
        assert len(moments) > 1

    def test_the_spread_leaves_time_before_a_near_deadline(self):
        due = NOON.replace(hour=23)
        end = NOON.replace(hour=8) + timedelta(days=1)
        deadline = end + timedelta(seconds=2)
        moments = [decide(quiet(), "UTC", type="news", due=due, deadline=deadline).until for _ in range(50)]
        assert max(moments) <= end + timedelta(seconds=1)

    def test_quiet_hours_beyond_the_deadline_suppress_the_message(self):
        due = NOON.replace(hour=23)
        end = NOON.replace(hour=8) + timedelta(days=1)
        assert decide(quiet(), "UTC", type="news", due=due, deadline=end).suppressed == QUIET_TOO_LONG
        assert decide(quiet(), "UTC", type="news", due=due, deadline=None).suppressed == QUIET_TOO_LONG

    def test_a_setting_suppresses_instead_of_deferring(self, push_settings):
        push_settings(QUIET_HOURS="suppress")
        due = NOON.replace(hour=23)
        assert decide(quiet(), "UTC", type="news", due=due, deadline=due + timedelta(days=9)).suppressed == QUIET


def transitions(zone):
    """The hours in 2026 around which clocks of a zone change, and one ordinary hour."""
    hours = [datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(hours=hour) for hour in range(365 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    changes = [hours[number] for number in range(1, len(hours)) if offsets[number] != offsets[number - 1]]
    return [hours[4000], *changes]


MOMENTS = {name: transitions(ZoneInfo(name)) for name in ZONES}

moments_near_changes = st.sampled_from(ZONES).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(MOMENTS[name]), st.integers(-26 * 60, 26 * 60))
)
minutes_of_day = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))


def walk(now, zone, end):
    """By brute force: the first minute at which clocks show `end`, or have just jumped past it."""
    before = now.astimezone(zone).replace(tzinfo=None)
    while True:
        now += MINUTE
        after = now.astimezone(zone).replace(tzinfo=None)
        passed = [datetime.combine(day, end) for day in {before.date(), after.date()}]
        if any(before < moment <= after for moment in passed):
            return now
        before = after


class TestQuietHours:
    @pytest.mark.parametrize(
        ("window", "zone", "now", "end"),
        [
            (("22:00", "08:00"), "Europe/Berlin", (2026, 11, 22, 23, 0), (2026, 11, 23, 8, 0)),
            (("22:00", "08:00"), "Europe/Berlin", (2026, 11, 23, 7, 59), (2026, 11, 23, 8, 0)),
            (("22:00", "08:00"), "Europe/Berlin", (2026, 11, 23, 8, 0), None),
            (("22:00", "08:00"), "Europe/Berlin", (2026, 11, 23, 21, 59, 59), None),
            (("22:00", "08:00"), "Europe/Berlin", (2026, 11, 23, 22, 0), (2026, 11, 24, 8, 0)),
            (("13:00", "15:00"), "Europe/Berlin", (2026, 11, 23, 14, 0), (2026, 11, 23, 15, 0)),
            (("13:00", "15:00"), "Europe/Berlin", (2026, 11, 23, 12, 59), None),
            (("22:00", "00:00"), "Europe/Berlin", (2026, 11, 23, 23, 0), (2026, 11, 24, 0, 0)),
            # clocks go forward from 2:00 to 3:00: the end is skipped, the window ends with the jump
            (("22:00", "02:30"), "Europe/Berlin", (2026, 3, 29, 1, 59), (2026, 3, 29, 3, 0)),
            # clocks go back from 3:00 to 2:00: the window ends when clocks show the end for the first time
            (("22:00", "02:30"), "Europe/Berlin", (2026, 10, 25, 1, 0), (2026, 10, 25, 2, 30)),
            # midnight itself is skipped in Santiago
            (("20:00", "00:30"), "America/Santiago", (2026, 9, 5, 23, 0), (2026, 9, 6, 1, 0)),
        ],
    )
    def test_when_quiet_hours_end(self, window, zone, now, end):
        found = quiet_until(quiet(*window), zone, at(zone, *now))
        assert found == (at(zone, *end) if end else None)

    def test_they_apply_twice_in_a_repeated_hour(self):
        again = at("Europe/Berlin", 2026, 10, 25, 2, 10, fold=1)
        found = quiet_until(quiet("22:00", "02:30"), "Europe/Berlin", again)
        assert found == at("Europe/Berlin", 2026, 10, 25, 2, 30, fold=1)

    def test_disabled_or_incomplete_ones_are_ignored(self):
        assert quiet_until({}, "UTC", NOON) is None
        assert quiet_until(quiet("00:00", "23:59", enabled=False), "UTC", NOON) is None
        assert quiet_until({"quiet_hours": {"enabled": True, "start": "00:00"}}, "UTC", NOON) is None
        assert quiet_until({"quiet_hours": {"enabled": True, "end": "23:00"}}, "UTC", NOON) is None

    def test_time_zones_of_quiet_hours_subscription_and_site_apply_in_this_order(self, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        window = quiet("09:00", "10:00")
        nine_in = {zone: at(zone, 2026, 11, 22, 9, 30) for zone in ("Asia/Tokyo", "Europe/Berlin", "America/New_York")}
        own = quiet("09:00", "10:00", timezone="America/New_York")
        assert quiet_until(own, "Europe/Berlin", nine_in["America/New_York"])
        assert not quiet_until(own, "Europe/Berlin", nine_in["Europe/Berlin"])
        assert quiet_until(window, "Europe/Berlin", nine_in["Europe/Berlin"])
        assert quiet_until(window, "", nine_in["Asia/Tokyo"])
        assert quiet_until(window, "Nowhere/Land", nine_in["Asia/Tokyo"])
        assert not quiet_until(window, "", nine_in["Europe/Berlin"])

    @pytest.mark.thorough
    @given(moments_near_changes, minutes_of_day, minutes_of_day)
    def test_their_end_equals_a_minute_by_minute_computation(self, moment, start, end):
        name, change, offset = moment
        zone, now = ZoneInfo(name), change + offset * MINUTE
        local = now.astimezone(zone).time()
        inside = start <= local < end if start < end else local >= start or local < end
        found = quiet_until(quiet(f"{start:%H:%M}", f"{end:%H:%M}"), name, now)
        assert found == (walk(now, zone, end) if inside else None)


class TestLocalTimes:
    @given(moments_near_changes)
    def test_they_equal_a_minute_by_minute_computation(self, moment):
        name, change, offset = moment
        zone, now = ZoneInfo(name), change + offset * MINUTE
        shown = now.astimezone(zone).replace(tzinfo=None)
        first = wall_clock_instant(shown, zone)
        assert first.astimezone(zone).replace(tzinfo=None) == shown
        earlier = [now - minutes * MINUTE for minutes in range(1, 121)]
        assert first == min([now, *(one for one in earlier if one.astimezone(zone).replace(tzinfo=None) == shown)])

    def test_a_skipped_local_time_is_the_moment_of_the_clock_change(self):
        skipped = datetime(2026, 3, 29, 2, 17, 31)  # noqa: DTZ001  # a wall clock
        jump = wall_clock_instant(skipped, ZoneInfo("Europe/Berlin"))
        assert jump == datetime(2026, 3, 29, 1, tzinfo=timezone.utc)
        assert jump.astimezone(ZoneInfo("Europe/Berlin")).hour == 3

    @pytest.mark.parametrize(
        "name", ["", "x" * 65, "../../etc/passwd", "/etc/passwd", "Europe", "zone.tab", "a\x00", "Ü/B"]
    )
    def test_invalid_time_zones_are_ignored(self, name):
        assert find_zone(name) is None

    def test_a_recipient_without_a_time_zone_has_that_of_the_site(self, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        assert recipient_zone("").key == "Asia/Tokyo"
        assert recipient_zone("Europe/Paris").key == "Europe/Paris"
