"""Rate limits of push services: what a rate allows, how it is shared and learned, and who goes first."""

from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import pytest
import time_machine
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.attempt_log import attempts
from django_webpush_kit.delivery.claiming import claim
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.pace import Pace
from django_webpush_kit.delivery.pacing import Pacing, SendLimit, send_limits
from django_webpush_kit.models import PushServiceState, get_notification_model
from django_webpush_kit.states import Lane
from django_webpush_kit.transports import PushResponse, Transport, locmem
from tests.factories import new_notification

SERVICE = "updates.push.services.mozilla.com"
START = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
LEARNED = "because it limits this site; it last did so at 2026-11-01 12:00 UTC."
WAITS = "Waits for the rate limit of the push service"


def after(seconds):
    return START + timedelta(seconds=seconds)


class TestPermits:
    """At 600 a minute each permit takes a tenth of a second."""

    def test_an_idle_service_allows_a_burst_of_two_seconds(self):
        permits, pace = Pace().taken(600, 0, 100, START)
        assert (permits.other, len(permits.other_moments)) == (20, 80)
        assert pace.taken(600, 0, 100, START)[0].other == 0

    def test_urgent_rows_may_use_one_more_second_of_permits(self):
        _permits, pace = Pace().taken(600, 0, 100, START)
        assert pace.taken(600, 50, 50, START)[0].urgent == 10

    def test_permits_are_granted_at_the_rate(self):
        _permits, pace = Pace().taken(600, 0, 100, START)
        permits, pace = pace.taken(600, 0, 100, after(0.5))
        assert permits.other == 5
        assert pace.taken(600, 0, 100, after(1.5))[0].other == 10

    @pytest.mark.parametrize("rate", [1 / 1440, 1, 59, 600, 60_000, 10**9, 10**12])
    def test_every_rate_sends_something_and_is_never_exceeded(self, rate):
        pace, sent, seconds = Pace(), 0, 0.0
        for _ in range(100):
            permits, pace = pace.taken(rate, 0, 10, after(seconds))
            sent += permits.other
            seconds += 12 / rate
        most = (seconds / 60 + 1 / 20) * rate + 2  # ten permits come in fifty steps; two seconds at once
        assert 20 * 0.9 <= sent <= most

    @given(
        steps=st.lists(st.tuples(st.floats(0, 5), st.floats(-3, 3), st.integers(0, 40), st.integers(0, 40)), min_size=1)
    )
    def test_workers_with_wrong_clocks_do_not_exceed_the_rate_together(self, steps):
        pace, sent, seconds = Pace(), 0, 0.0
        for step, skew, urgent, other in steps:
            seconds += step
            permits, pace = pace.taken(600, urgent, other, after(seconds + skew))
            sent += permits.urgent + permits.other
        assert sent <= (seconds + 3 + 3 + 3) * 10 + 1  # three seconds at once, and clocks six seconds apart

    def test_a_clock_that_was_far_ahead_does_not_block_sending(self):
        _permits, pace = Pace().taken(600, 0, 100, after(3600))
        assert pace.taken(600, 0, 100, START)[0].other == 20

    def test_waiting_rows_become_due_slightly_faster_than_permits(self):
        permits, _pace = Pace().taken(600, 0, 220, START)
        per_second = Counter(permits.other_moments)
        assert max(per_second.values()) == 11
        assert max(per_second) == permits.waits_until == after(19)

    def test_later_rows_wait_behind_earlier_ones(self):
        first, pace = Pace().taken(600, 0, 200, START)
        second, _pace = pace.taken(600, 0, 200, after(0.1))
        assert second.other_moments[0] >= first.other_moments[-1]

    def test_no_row_waits_longer_than_ten_minutes_for_its_next_attempt(self):
        permits, pace = Pace().taken(60, 0, 5000, START)
        assert permits.other_moments[-1] == after(600)
        assert pace.taken(60, 0, 10, START)[0].other_moments == (after(600),) * 10

    def test_new_rows_do_not_wait_behind_cancelled_ones(self):
        _permits, pace = Pace().taken(60, 0, 5000, START)
        assert pace.taken(60, 0, 10, after(30))[0].other_moments[-1] <= after(30 + 10)

    def test_urgent_rows_get_the_next_permit(self):
        _permits, pace = Pace().taken(600, 0, 5000, START)
        permits, _pace = pace.taken(600, 30, 0, START)
        assert permits.urgent == 10
        assert max(permits.urgent_moments) <= after(2)

    def test_rows_of_a_paused_service_wait_last_and_use_no_permits(self):
        permits, pace = Pace().taken(600, 0, 200, START)
        moments, after_them = pace.queued(600, 22, START)
        assert moments[0] >= permits.other_moments[-1]
        assert (moments[-1] - moments[0]).total_seconds() == 2
        assert after_them.permits_until == pace.permits_until
        assert after_them.taken(600, 0, 1, START)[0].other_moments[0] >= moments[-1]

    def test_the_first_rows_do_not_wait(self):
        moments, _pace = Pace().queued(600, 5, START)
        assert set(moments) == {after(1)}


class TestLearning:
    def test_a_rate_is_learned_from_what_was_accepted_in_the_last_minute(self):
        assert Pace().throttled(1000, None, START).rate(None, START) == 950

    def test_a_better_measurement_of_the_same_throttling_raises_the_rate(self):
        pace = Pace().throttled(500, None, START).throttled(1000, None, after(2)).throttled(700, None, after(4))
        assert pace.learned == 950

    def test_the_rate_rises_by_one_percent_a_minute(self):
        assert Pace().throttled(1000, None, START).rate(None, after(600)) == pytest.approx(950 * 1.1)

    def test_new_throttling_lowers_the_rate(self):
        pace = Pace().throttled(1000, None, START).throttled(1000, None, after(600))
        assert pace.learned == pytest.approx(1000 * 0.95)

    def test_continued_throttling_does_not_lower_the_rate_again(self):
        pace = Pace().throttled(1000, None, START)
        assert pace.throttled(1000, None, after(30), is_the_same=True) == pace
        assert pace.throttled(1000, None, after(30)).learned < 950

    def test_one_throttling_at_most_halves_the_rate(self):
        pace = Pace(learned=1000, learned_at=START).throttled(7, None, after(60))
        assert pace.learned == pytest.approx(1010 / 2 * 0.95)

    def test_it_is_forgotten_after_six_hours_without_throttling(self):
        pace = Pace().throttled(1000, None, START)
        assert pace.rate(None, after(5.9 * 3600)) is not None
        assert pace.rate(None, after(6 * 3600)) is None

    def test_it_never_exceeds_the_configured_rate(self):
        assert Pace().rate(900, START) == 900
        assert Pace(learned=1000, learned_at=START).rate(900, START) == 900
        assert Pace().throttled(5000, 900, START).learned == pytest.approx(900 * 0.95)
        assert Pace().throttled(900, 900, START).throttled(5000, 900, after(1)).learned == 900

    def test_too_few_messages_do_not_set_a_rate(self):
        assert Pace().throttled(60, None, START) == Pace()

    @pytest.mark.parametrize("stored", [0.0, -5.0, float("nan")])
    def test_an_invalid_stored_rate_becomes_the_minimum_rate(self, stored):
        assert Pace(learned=stored, learned_at=START).rate(None, START) == 60


class LimitedService(Transport):
    """A push service that accepts `limit` messages in each minute of the clock and answers 429 above it."""

    limit = 300
    accepted = Counter()
    refused = Counter()

    def send(self, requests):
        for request in requests:
            if request is None:
                continue
            minute = datetime.now(tz=timezone.utc).replace(second=0, microsecond=0)
            is_accepted = self.accepted[minute] < self.limit
            (self.accepted if is_accepted else self.refused)[minute] += 1
            if is_accepted:
                locmem.sent.append(request)
            yield PushResponse(id=request.id, status=201 if is_accepted else 429)


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as clock:
        yield clock


@pytest.fixture
def browsers(user, make_subscription):
    return [make_subscription(user) for _ in range(5)]


@pytest.fixture
def _rate(push_settings):
    push_settings(SEND_RATES={SERVICE: "600/m"})


def rows():
    return get_notification_model().objects


def write(browsers, number, urgency="normal", **fields):
    """Rows to the browsers in turn, due now."""
    made = [
        new_notification(
            browsers[count % len(browsers)],
            "pending",
            lane=Lane.for_urgency(urgency),
            options={"urgency": urgency},
            **fields,
        )
        for count in range(number)
    ]
    return rows().bulk_create(made)


def sent_urgencies():
    return Counter(request.urgency for request in locmem.sent)


@pytest.mark.django_db
def test_messages_accepted_by_another_service_do_not_count():
    pacing = Pacing()
    pacing.note_throttled(SERVICE, 1, 429, datetime.now(timezone.utc))
    pacing.note_accepted("other.example.com")
    pacing.note_accepted(SERVICE)
    assert pacing._watches[SERVICE].accepted == 1
    assert list(pacing._watches) == [SERVICE]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_rate")
class TestConfiguredRate:
    def test_rows_above_the_rate_wait(self, browsers, clock):
        write(browsers, 100)
        assert deliver_due().outcomes == {"sent": 20, "deferred": 80}
        assert deliver_due().outcomes == {}
        waiting = rows().filter(status="pending")
        assert set(waiting.values_list("failure_reason", "claims", "retry_count")) == {(WAITS, 0, 0)}
        assert waiting.filter(next_attempt_at__lte=after(8)).count() == 80

    @pytest.mark.thorough
    def test_all_rows_are_sent_at_the_rate(self, browsers, clock):
        write(browsers, 620)
        for _ in range(120):
            clock.shift(0.5)
            deliver_due()
        assert len(locmem.sent) == 20 + 595
        clock.shift(2)
        deliver_due()
        assert len(locmem.sent) == 620

    def test_urgent_rows_go_first(self, browsers, clock):
        write(browsers, 100)
        write(browsers, 15, "high")
        deliver_due()
        assert sent_urgencies() == {"high": 15, "normal": 5}

    def test_urgent_rows_get_permits_when_normal_rows_have_used_theirs(self, browsers, clock):
        write(browsers, 100, "low")
        deliver_due()
        write(browsers, 10, "high")
        deliver_due()
        assert sent_urgencies() == {"low": 20, "high": 10}

    def test_urgent_rows_without_a_permit_wait_briefly(self, browsers, clock):
        write(browsers, 50, "high")
        deliver_due()
        clock.shift(3)
        deliver_due()
        assert sent_urgencies() == {"high": 50}

    @pytest.mark.thorough
    def test_other_services_do_not_wait(self, browsers, user, make_subscription, clock):
        other = make_subscription(user, endpoint="https://fcm.googleapis.com/fcm/send/abc")
        write([*browsers, other], 600)
        deliver_due()
        assert sum("fcm" in request.endpoint for request in locmem.sent) == 100

    @pytest.mark.thorough
    def test_it_holds_for_many_small_chunks(self, browsers, clock, push_settings):
        push_settings(CHUNK_SIZE=7)
        write(browsers, 100)
        deliver_due()
        assert len(locmem.sent) == 20

    def test_a_faster_worker_uses_up_the_permits(self, browsers, clock):
        write(browsers, 100)
        deliver_due(limit=0)
        with taking_permits_before_each_look(after(-2)):
            assert deliver_due().outcomes == {"sent": 10, "deferred": 90}

    def test_rows_wait_while_other_workers_use_all_permits(self, browsers, clock):
        write(browsers, 30)
        write(browsers, 30, "high")
        with taking_permits_before_each_look(after(-2), for_ever=True):
            assert deliver_due().outcomes == {"deferred": 60}
        clock.shift(1)
        assert deliver_due().outcomes["sent"] > 20

    def test_a_row_is_tried_again_before_its_deadline(self, browsers, clock, push_settings):
        push_settings(SEND_RATES={SERVICE: "6/m"})
        write(browsers, 3)
        late = write(browsers, 1, expires_at=after(9))[0]
        deliver_due()
        late.refresh_from_db()
        assert (late.status, late.next_attempt_at) == ("pending", after(5))

    @pytest.mark.thorough
    def test_a_row_without_ttl_waits_for_a_minute_at_most(self, browsers, clock, push_settings):
        push_settings(SEND_RATES={SERVICE: "1/h"})
        write(browsers, 3)
        last = write(browsers, 1)[0]
        rows().filter(pk=last.pk).update(options={"ttl": 0})
        for _ in range(61):
            deliver_due()
            clock.shift(1)
        deliver_due()
        last.refresh_from_db()
        assert (last.status, last.failure_reason) == ("expired", "Not sent before its deadline")

    def test_rows_that_waited_for_a_pause_are_sent_at_the_rate_too(self, browsers, clock):
        write(browsers, 100)
        locmem.answers += [PushResponse(id=None, status=500)] * 20
        deliver_due()
        for _ in range(40):
            clock.shift(1)
            before = len(locmem.sent)
            deliver_due()
            assert len(locmem.sent) - before <= 21, "with the probe"

    def test_a_call_with_a_time_limit_waits_for_rate_limited_rows(self, browsers):
        write(browsers, 25)
        report = deliver_due(seconds=30)
        assert (report.sent, report.more) == (25, False)

    def test_a_state_with_permits_is_kept_when_a_breaker_closes(self, browsers, clock):
        write(browsers, 10)
        locmem.answers += [PushResponse(id=None, status=500)] * 3
        deliver_due()
        state = PushServiceState.objects.get(vapid_key_id="")
        assert state.permits_until is not None


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_rate")
class TestBacklog:
    """At 600 a minute, 660 rows a minute come back."""

    @pytest.mark.thorough
    def test_a_row_of_another_service_does_not_wait_behind_it(self, browsers, user, make_subscription, clock):
        other = make_subscription(user, endpoint="https://fcm.googleapis.com/fcm/send/abc")
        write(browsers, 2400)
        write([other], 1)
        deliver_due(limit=1000)
        assert [request.endpoint for request in locmem.sent if "fcm" in request.endpoint] == [other.endpoint]

    @pytest.mark.thorough
    def test_its_rows_become_due_at_the_rate(self, browsers, clock):
        write(browsers, 3000)
        deliver_due()
        waiting = rows().filter(status="pending")
        assert set(waiting.values_list("failure_reason", "claims", "retry_count")) == {(WAITS, 0, 0)}
        per_second = Counter(waiting.values_list("next_attempt_at", flat=True))
        assert max(per_second.values()) <= 12
        assert max(per_second) - min(per_second) == timedelta(seconds=2980 // 11)
        for _ in range(120):
            clock.shift(0.5)
            deliver_due()
        assert 20 + 595 <= len(locmem.sent) <= 20 + 600

    @pytest.mark.thorough
    def test_rows_are_tried_again_after_ten_minutes_at_most(self, browsers, clock, push_settings):
        push_settings(SEND_RATES={SERVICE: "60/m"})
        write(browsers, 3000)
        deliver_due()
        assert rows().filter(next_attempt_at=after(600)).count() > 2000
        assert not rows().filter(next_attempt_at__gt=after(600)).exists()

    def test_rows_are_tried_again_before_their_deadline(self, browsers, clock):
        soon = {"expires_at": after(60)}
        write(browsers, 500)
        write(browsers, 200, **soon)
        deliver_due()
        assert rows().filter(status="pending", next_attempt_at__lte=after(31), **soon).count() == 200

    @pytest.mark.thorough
    def test_urgent_rows_stay_due(self, browsers, clock):
        write(browsers, 1000)
        deliver_due(limit=200)
        write(browsers, 30, "high")
        deliver_due(limit=600)
        assert sent_urgencies()["high"] == 10
        assert not rows().filter(status="pending", lane=Lane.HIGH, next_attempt_at__gt=after(3)).exists()

    @pytest.mark.thorough
    @pytest.mark.parametrize("options", [[], {"ttl": "x"}])
    def test_a_row_that_cannot_be_read_fails_when_it_is_claimed(self, browsers, clock, options):
        write(browsers, 1000)
        odd = write(browsers, 1)[0]
        rows().filter(pk=odd.pk).update(options=options)
        deliver_due()
        odd.refresh_from_db()
        assert odd.status == "failed"

    @pytest.mark.thorough
    def test_the_story_of_a_row_says_that_it_waited(self, browsers, clock):
        write(browsers, 1000)
        deliver_due()
        last = rows().filter(status="pending").latest("next_attempt_at")
        assert [(step.reason, step.until) for step in attempts(last.attempt_log)] == [(WAITS, last.next_attempt_at)]


@contextmanager
def taking_permits_before_each_look(moment, *, for_ever=False):
    """Another worker moves `permits_until` just before ours does."""
    moved = []

    def move(execute, sql, params, many, context):
        is_ours = sql.startswith("UPDATE") and "permits_until" in sql and "waiting_until" in sql.partition("WHERE")[0]
        if is_ours and (for_ever or not moved):
            moved.append(moment + timedelta(milliseconds=len(moved)))
            name = connection.ops.quote_name(PushServiceState._meta.db_table)
            value = connection.ops.adapt_datetimefield_value(moved[-1])
            with connection.execute_wrapper(lambda execute, *rest: execute(*rest)):
                execute(f"UPDATE {name} SET permits_until = %s", [value], False, context)
        return execute(sql, params, many, context)

    PushServiceState.objects.get_or_create(push_service=SERVICE, vapid_key_id="")
    with connection.execute_wrapper(move):
        yield


@pytest.mark.django_db(transaction=True)
class TestLearnedRate:
    @pytest.fixture(autouse=True)
    def _service(self, push_settings, monkeypatch):
        push_settings(TRANSPORT=f"{__name__}.LimitedService")
        monkeypatch.setattr(LimitedService, "accepted", Counter())
        monkeypatch.setattr(LimitedService, "refused", Counter())

    @pytest.mark.thorough
    def test_the_limit_of_a_throttling_service_is_learned(self, browsers, clock):
        write(browsers, 1000)
        for _ in range(180):
            deliver_due()
            clock.shift(1)
        assert [280 < limit.per_minute < 300 for limit in send_limits()] == [True]
        assert LimitedService.accepted[after(120)] >= 285
        assert LimitedService.refused[after(120)] < 300 * 0.02

    @pytest.mark.thorough
    def test_an_urgent_row_does_not_wait_for_the_others(self, browsers, clock):
        PushServiceState.objects.create(push_service=SERVICE, rate=285, rate_changed_at=START)
        write(browsers, 2000, "low")
        for _ in range(20):
            row = write(browsers, 1, "high")[0]
            deliver_due()
            row.refresh_from_db()
            assert row.status == "sent"
            clock.shift(0.5)


class GroupingService(Transport):
    """Sends 64 requests together, or fewer when it is asked to pause, as the transports over a network do."""

    accepts_pauses = True
    max_in_flight = None
    events = []

    def send(self, requests):
        group = []
        for request in requests:
            if request is not None:
                group.append(request)
            if request is None or len(group) == 64:
                self.events += [one.urgency for one in group]
                yield from (PushResponse(id=one.id, status=201) for one in group)
                group = []
        self.events += [one.urgency for one in group]
        yield from (PushResponse(id=one.id, status=201) for one in group)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_rate")
def test_rows_with_a_permit_are_sent_while_a_backlog_is_claimed(browsers, clock, push_settings, monkeypatch):
    push_settings(TRANSPORT=f"{__name__}.GroupingService", CHUNK_SIZE=50)
    monkeypatch.setattr(GroupingService, "events", [])

    def noted(*arguments, **keywords):
        GroupingService.events.append("claim")
        return claim(*arguments, **keywords)

    monkeypatch.setattr("django_webpush_kit.delivery.engine.claim", noted)
    write(browsers, 500, "low")
    write(browsers, 5, "high")
    deliver_due()
    events = GroupingService.events
    assert events[:6] == ["claim", *["high"] * 5]
    assert events.count("low") == 15
    assert events[6:21] == ["low"] * 15
    assert events.count("claim") > 5


class BusyService(Transport):
    """Answers five requests at a time, all with 429; others wait meanwhile."""

    accepts_pauses = True
    max_in_flight = 8
    received = Counter()

    def send(self, requests):
        group = []
        for request in requests:
            if request is not None:
                group.append(request)
                self.received[request.urgency] += 1
            if request is None or len(group) == 5:
                yield from (PushResponse(id=one.id, status=429) for one in group)
                group = []
        yield from (PushResponse(id=one.id, status=429) for one in group)


@pytest.mark.django_db(transaction=True)
class TestWhileEverythingIsRefused:
    """The rest of a minute in which a push service has accepted all that it allows."""

    @pytest.fixture(autouse=True)
    def _known_rate(self, push_settings, monkeypatch):
        push_settings(TRANSPORT=f"{__name__}.LimitedService")
        monkeypatch.setattr(LimitedService, "accepted", Counter({START: LimitedService.limit}))
        monkeypatch.setattr(LimitedService, "refused", Counter())
        PushServiceState.objects.create(push_service=SERVICE, rate=285, rate_changed_at=START)

    @pytest.mark.thorough
    def test_a_large_backlog_is_not_claimed_again_with_every_probe(self, browsers, clock):
        write(browsers, 2000, "low")
        claimed = 0
        for _ in range(119):
            claimed += deliver_due().claimed
            clock.shift(0.5)
        assert claimed < 2000
        assert rows().exclude(attempt_log="").count() == 2000
        assert LimitedService.refused[START] < 300 * 0.1

    @pytest.mark.thorough
    def test_the_rate_is_used_as_soon_as_the_service_accepts_again(self, browsers, clock):
        write(browsers, 2000, "low")
        for _ in range(240):
            deliver_due()
            clock.shift(0.5)
        assert LimitedService.accepted[after(60)] >= 285 * (60 - 21) / 60, (
            "the time of 100 messages passes before a probe"
        )

    @pytest.mark.thorough
    def test_the_rate_does_not_fall_while_everything_is_refused(self, browsers, clock):
        write(browsers, 300, "low")
        PushServiceState.objects.update(rate=None, rate_changed_at=None)
        LimitedService.accepted.clear()
        for _ in range(58):
            write(browsers, 10, "high")
            deliver_due()
            clock.shift(1)
        assert [limit.per_minute for limit in send_limits()] == [pytest.approx(285, abs=4)]

    @pytest.mark.thorough
    def test_urgent_rows_are_sent_first_afterwards(self, browsers, clock):
        write(browsers, 500, "low")
        deliver_due()
        urgent = write(browsers, 5, "high")
        while not locmem.sent:
            deliver_due()
            clock.shift(0.5)
        deliver_due()
        assert {request.id for request in locmem.sent[:5]} == {row.pk for row in urgent}
        assert datetime.now(tz=timezone.utc) < after(60 + 25)

    def test_rows_that_wait_for_a_probe_follow_its_answer(self, browsers, clock):
        write(browsers, 5, "high")
        deliver_due()
        for _ in range(4):
            clock.move_to(PushServiceState.objects.exclude(paused_until=None).get().paused_until)
            clock.shift(timedelta(milliseconds=1))
            waiting = write(browsers, 5, "high")
            deliver_due()
            state = PushServiceState.objects.exclude(paused_until=None).get()
            mine = rows().filter(pk__in=[row.pk for row in waiting])
            assert max(mine.values_list("next_attempt_at", flat=True)) <= state.paused_until, "at the end of its lease"

    def test_parked_rows_are_not_sent_after_a_service_refuses(self, browsers, clock, push_settings, monkeypatch):
        push_settings(TRANSPORT=f"{__name__}.BusyService")
        PushServiceState.objects.all().delete()
        monkeypatch.setattr(BusyService, "received", Counter())
        write(browsers, 100)
        assert deliver_due().outcomes == {"retried": 5, "deferred": 95}
        assert BusyService.received.total() == 5


@pytest.mark.django_db(transaction=True)
class TestEvidence:
    @pytest.fixture(autouse=True)
    def _busy(self, browsers, clock):
        """Two hundred messages were accepted a second ago."""
        write(browsers, 200)
        deliver_due()
        locmem.sent.clear()
        clock.shift(1)

    def learned(self, browsers, number, answers):
        write(browsers, number)
        locmem.answers += [PushResponse(id=None, status=status) for status in answers]
        deliver_due()
        return [limit.per_minute for limit in send_limits()]

    @pytest.mark.parametrize("status", [429, 406])
    def test_three_throttled_subscriptions_are_enough(self, browsers, status):
        assert self.learned(browsers, 3, [status] * 3) == [pytest.approx(200 * 0.95)]

    def test_one_throttled_subscription_is_not_enough(self, browsers):
        assert self.learned(browsers[:1], 9, [429] * 9) == []

    def test_a_few_throttled_subscriptions_among_many_are_not_enough(self, browsers):
        assert self.learned(browsers, 303, [429, *[201] * 150, 429, *[201] * 150, 429]) == []

    def test_an_outage_does_not_set_a_rate_limit(self, browsers):
        assert self.learned(browsers, 5, [503] * 5) == []

    def test_a_service_unavailable_to_some_subscriptions_limits_the_rate(self, browsers):
        assert self.learned(browsers, 7, [503, 201, 503, 503, 503, 201, 503]) == [pytest.approx(202 * 0.95)]

    def test_old_throttling_does_not_count(self, browsers, clock):
        assert self.learned(browsers[:2], 2, [429, 429]) == []
        clock.shift(11)
        assert self.learned(browsers[2:3], 1, [429]) == []

    def test_a_learned_rate_never_exceeds_the_configured_one(self, browsers, push_settings):
        push_settings(SEND_RATES={SERVICE: "100/m"})
        assert self.learned(browsers, 3, [429] * 3) == [pytest.approx(95)]


@pytest.mark.django_db(transaction=True)
class TestWithoutARate:
    def test_workers_request_no_permits(self, browsers):
        write(browsers, 20)
        statements = []

        def note(execute, sql, *rest):
            statements.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(note):
            assert deliver_due().sent == 20
        table = PushServiceState._meta.db_table
        assert not [sql for sql in statements if table in sql and not sql.startswith("SELECT")]

    def test_the_rate_of_another_service_slows_nothing_down(self, browsers, clock):
        PushServiceState.objects.create(push_service="slow.example.com", rate=60, rate_changed_at=START)
        write(browsers, 200)
        assert deliver_due().sent == 200


@pytest.mark.django_db
class TestLimitsInWords:
    def test_configured_and_learned_ones(self, push_settings, clock):
        push_settings(SEND_RATES={"a.example.com": "900/m", "b.example.com": "2/s"})
        PushServiceState.objects.create(push_service="a.example.com", rate=500, rate_changed_at=START)
        PushServiceState.objects.create(push_service="b.example.com", rate=500, rate_changed_at=START)
        PushServiceState.objects.create(push_service="c.example.com", rate=1500, rate_changed_at=START)
        assert send_limits() == [
            SendLimit("a.example.com", 500, START),
            SendLimit("b.example.com", 120),
            SendLimit("c.example.com", 1500, START),
        ]
        assert [str(limit) for limit in send_limits()] == [
            f"a.example.com is sent at most 500 messages a minute, {LEARNED}",
            "b.example.com is sent at most 120 messages a minute (SEND_RATES).",
            f"c.example.com is sent at most 1,500 messages a minute, {LEARNED}",
        ]

    @pytest.mark.parametrize("rate", ["fast", "900", 900, None, "0/m"])
    def test_a_malformed_rate_names_the_setting(self, push_settings, rate):
        push_settings(SEND_RATES={SERVICE: rate})
        with pytest.raises(ImproperlyConfigured, match=r'WEBPUSH_KIT\["SEND_RATES"\]\[.updates.*number, a slash'):
            send_limits()


@pytest.mark.django_db(transaction=True)
class TestPauses:
    """How long a push service is left alone that refuses everything for a while, as at the end of its minute."""

    def pauses(self, browsers, clock, status, *, headers=None, probes=8):
        """The pauses in whole seconds, one after the other."""
        write(browsers, 40)
        found = []
        for _ in range(probes):
            locmem.answers.clear()
            locmem.answers += [PushResponse(id=None, status=status, headers=headers or {})] * 40
            deliver_due()
            paused_until = PushServiceState.objects.exclude(paused_until=None).get().paused_until
            found.append(round((paused_until - datetime.now(tz=timezone.utc)).total_seconds()))
            clock.move_to(paused_until + timedelta(milliseconds=1))
        return found

    def test_without_a_rate_pauses_grow_to_five_minutes(self, browsers, clock):
        assert self.pauses(browsers, clock, 429, probes=1) == [5]

    def test_with_a_rate_pauses_are_short_and_probes_use_one_percent_of_it(self, browsers, clock):
        PushServiceState.objects.create(push_service=SERVICE, rate=1000, rate_changed_at=START)
        assert self.pauses(browsers, clock, 429, probes=6) == [1, 2, 4, 6, 6, 6]

    @pytest.mark.thorough
    def test_a_slow_rate_is_probed_slowly(self, browsers, clock):
        PushServiceState.objects.create(push_service=SERVICE, rate=120, rate_changed_at=START)
        assert self.pauses(browsers, clock, 429, probes=7)[:6] == [1, 2, 4, 8, 16, 32]

    def test_retry_after_of_the_service_is_honoured(self, browsers, clock):
        PushServiceState.objects.create(push_service=SERVICE, rate=1000, rate_changed_at=START)
        assert self.pauses(browsers, clock, 429, headers={"retry-after": "60"}, probes=3) == [60, 60, 60]

    def test_an_unavailable_service_is_paused_as_usual(self, browsers, clock):
        PushServiceState.objects.create(push_service=SERVICE, rate=1000, rate_changed_at=START)
        assert self.pauses(browsers, clock, 503) == [5, 10, 20, 40, 80, 160, 300, 300]
