"""One recipient, one audience or one broadcast that fails costs nobody else anything."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError, connection
from django.db.models import FloatField, Func, Value
from django.db.models.functions import Cast
from django.utils import timezone

from django_webpush_kit import services
from django_webpush_kit.delivery import fan_out as fan_out_module
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.fan_out import fan_out
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model, get_template_model
from django_webpush_kit.testing import outbox
from tests.columns import added_column
from tests.factories import make_template
from tests.push_settings import override_push_settings

pytestmark = pytest.mark.django_db(transaction=True)

Status = PushBroadcast.Status


def nickname(user):
    return {"nickname": {"user3": None}.get(user.username, user.username).title()}


def everybody():
    return get_user_model().objects.all()


def raising():
    raise LookupError("the host's own mistake")


def a_list():
    return list(get_user_model().objects.all())


@pytest.fixture(autouse=True)
def _configuration(push_settings):
    push_settings(RECIPIENT_CONTEXT=nickname, AUDIENCES={"everybody": everybody, "raising": raising, "a list": a_list})


@pytest.fixture
def people(make_user, make_subscription):
    """Eight users with a browser each; `nickname` raises for the fourth."""
    users = [make_user(username=f"user{number}") for number in range(8)]
    return [make_subscription(one) for one in users]


@pytest.fixture
def personal():
    return make_template("hello", title_template="Hello {{ recipient.nickname }}")


def fresh(row):
    row.refresh_from_db()
    return row


class TestABroadcastThatCannotBeRead:
    @pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL stores no such values")
    @pytest.mark.parametrize(("column", "value"), [("batch", "x"), ("texts", "7"), ("context", "[]"), ("rate", "soon")])
    def test_fails_alone(self, people, column, value):
        """Only a project that writes past Django stores such values."""
        make_template("news", title_template="News")
        odd, other = services.broadcast("news", urgency="high"), services.broadcast("news")
        table = connection.ops.quote_name(PushBroadcast._meta.db_table)
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [value, odd.pk])
        except DatabaseError:
            pytest.skip("This database refuses the value.")
        deliver_due()
        statuses = dict(PushBroadcast.objects.values_list("pk", "status"))
        assert statuses == {odd.pk: Status.FAILED, other.pk: Status.COMPLETED}
        assert PushBroadcast.objects.filter(pk=odd.pk).exclude(failure_reason="").exists()
        assert len(outbox) == len(people)


class TestARecipientThatFails:
    def test_is_counted_skipped_and_logged(self, people, personal, caplog):
        row = services.broadcast("hello")
        deliver_due()
        assert (fresh(row).status, row.total, row.processed, row.queued, row.failed) == ("completed", 8, 8, 7, 1)
        assert row.failure_reason.startswith("AttributeError: 'NoneType'")
        assert len(outbox) == 7
        assert "Traceback" in caplog.text

    def test_fails_a_broadcast_without_other_recipients(self, people, personal):
        get_subscription_model().objects.exclude(pk=people[3].pk).delete()
        row = services.broadcast("hello")
        deliver_due()
        assert (fresh(row).status, row.queued, row.failed) == (Status.FAILED, 0, 1)

    def test_is_found_if_the_database_refuses_its_row(self, people, monkeypatch):
        make_template("news", title_template="News")
        build = fan_out_module.build_page

        def spoil(subscriptions, *arguments, **options):
            page = build(subscriptions, *arguments, **options)
            for one in page.rows:
                if one.subscription_id == people[5].pk:
                    one.lane = -1  # the column takes no negative numbers
            return page

        monkeypatch.setattr(fan_out_module, "build_page", spoil)
        row = services.broadcast("news")
        deliver_due()
        assert (fresh(row).status, row.processed, row.queued, row.failed) == ("completed", 8, 7, 1)

    def test_is_deleted_while_its_page_is_written(self, people, monkeypatch, caplog):
        make_template("news", title_template="News")
        build, deleted = fan_out_module.build_page, []

        def delete_first(subscriptions, *arguments, **options):
            page = build(subscriptions, *arguments, **options)
            if not deleted:
                deleted.append(get_user_model().objects.get(username="user2").delete())
            return page

        monkeypatch.setattr(fan_out_module, "build_page", delete_first)
        row = services.broadcast("news")
        deliver_due()
        assert (fresh(row).status, row.processed, row.queued, row.failed) == ("completed", 8, 7, 1)
        assert (row.failure_reason, caplog.records) == ("", [])
        assert get_notification_model().objects.filter(batch=row.batch).values("subscription").distinct().count() == 7

    def test_loses_nothing_when_the_template_is_deleted_while_its_page_is_written(self, people, monkeypatch):
        make_template("news", title_template="News")
        build = fan_out_module.build_page

        def delete_the_template(*arguments, **options):
            page = build(*arguments, **options)
            get_template_model().objects.all().delete()
            return page

        monkeypatch.setattr(fan_out_module, "build_page", delete_the_template)
        row = services.broadcast("news")
        deliver_due()
        assert (fresh(row).status, row.queued, row.failed) == ("completed", 8, 0)

    def test_has_malformed_stored_data(self, people):
        make_template("news", title_template="News")
        table = connection.ops.quote_name(get_subscription_model()._meta.db_table)
        if connection.vendor != "sqlite":
            pytest.skip("other databases store valid JSON only")
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA ignore_check_constraints=ON")
            cursor.execute(f"UPDATE {table} SET preferences = 'no JSON' WHERE id = %s", [people[4].pk])  # no input
            cursor.execute("PRAGMA ignore_check_constraints=OFF")
        row = services.broadcast("news", "everybody")
        deliver_due()
        assert fresh(row).status == Status.COMPLETED
        assert row.queued == 7


class TestAnAudienceThatFails:
    def test_fails_only_its_own_broadcast(self, people, caplog):
        make_template("news", title_template="News")
        broken = services.broadcast("news", "raising")
        good = services.broadcast("news")
        deliver_due()
        assert (fresh(broken).status, broken.failure_reason) == (
            Status.FAILED,
            "LookupError: the host's own mistake",
        )
        assert (fresh(good).status, good.queued) == (Status.COMPLETED, 8)

    def test_must_return_a_queryset(self, people):
        make_template("news", title_template="News")
        row = services.broadcast("news", "a list")
        deliver_due()
        assert fresh(row).failure_reason.startswith(
            'InvalidOption: AUDIENCES["a list"] must return a queryset of users or of subscriptions, not list'
        )

    def test_is_retried_after_a_pause_if_it_has_worked_before(self, people, push_settings, time_machine):
        push_settings(BROADCAST_AHEAD=5)
        make_template("news", title_template="News")
        time_machine.move_to(timezone.now(), tick=False)
        row = services.broadcast("news", "everybody")
        assert fan_out() == 5
        deliver_due(batch=row.batch)
        with override_push_settings(AUDIENCES={"everybody": raising}):
            assert fan_out() == 0
        assert (fresh(row).status, row.failure_reason) == (Status.RUNNING, "LookupError: the host's own mistake")
        assert fan_out() == 0
        time_machine.shift(timedelta(seconds=fan_out_module.ERROR_PAUSE_SECONDS))
        deliver_due()
        assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)


class Raising(Func):
    """An expression of the project's own that raises the next of some errors whenever a query is made of it."""

    def __init__(self, *errors):
        super().__init__(output_field=FloatField())
        self.errors = list(errors)

    def as_sql(self, compiler, connection, **context):
        error = self.errors.pop(0)
        if error is not None:
            raise error
        return "1.0", []


class TestAnAudienceWhoseQueryFails:
    @pytest.fixture
    def starts(self, push_settings):
        """Start a broadcast to an audience with an expression that raises these errors, one for each query."""
        make_template("news", title_template="News")

        def start(*errors):
            expression = Raising(*errors)
            expression.copy = lambda: expression
            expression.resolve_expression = lambda *arguments, **options: expression
            audience = get_subscription_model().objects.annotate(odd=expression).filter(odd=1)
            push_settings(AUDIENCES={"odd": lambda: audience})
            return services.broadcast("news", "odd")

        return start

    @pytest.mark.parametrize(
        "errors",
        [
            [OperationalError("away")] * 9,
            [None, OperationalError("away")],
            [None, ValueError("odd"), OperationalError("away")],
        ],
        ids=["when it is counted", "when it is read", "when it is halved"],
    )
    def test_for_all_recipients_is_retried_after_a_pause(self, people, starts, errors, time_machine):
        time_machine.move_to(timezone.now(), tick=False)
        row = starts(*errors, *[None] * 20)
        good = services.broadcast("news")
        assert fan_out() == 8
        assert (fresh(row).failure_reason, row.failed, row.lease_token) == ("OperationalError: away", 0, None)
        assert fresh(good).queued == 8
        time_machine.shift(timedelta(seconds=fan_out_module.ERROR_PAUSE_SECONDS))
        if len(errors) < 9:
            deliver_due()
            assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)

    def test_for_each_recipient_counts_all_as_failed(self, people, starts):
        row = starts(*[ValueError("odd")] * 100)
        deliver_due()
        assert (fresh(row).status, row.failed) == (Status.FAILED, 8)

    def test_with_no_readable_recipient_fails_its_broadcast(self, people, starts):
        row = starts(None, *[ValueError("odd")] * 9)
        get_subscription_model().objects.update(is_active=False, deactivated_at=timezone.now())
        deliver_due()
        assert (fresh(row).status, row.failure_reason) == (Status.FAILED, "ValueError: odd")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="waits for a lock of PostgreSQL")
def test_a_page_is_written_later_after_a_lock_timeout(people, time_machine, monkeypatch):
    make_template("news", title_template="News")
    time_machine.move_to(timezone.now(), tick=False)
    row = services.broadcast("news")
    other = connection.copy()
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", "-c lock_timeout=50ms")
    connection.close()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {get_notification_model()._meta.db_table} IN SHARE MODE")
            assert fan_out() == 0
    finally:
        other.close()
    assert (fresh(row).status, row.queued, row.failed, row.lease_token) == (Status.RUNNING, 0, 0, None)
    assert "lock timeout" in row.failure_reason
    time_machine.shift(timedelta(seconds=fan_out_module.ERROR_PAUSE_SECONDS))
    deliver_due()
    assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)


class TestResume:
    def test_a_broadcast_that_wrote_no_row_starts_over_with_new_texts(self, people, personal):
        get_subscription_model().objects.exclude(pk=people[3].pk).delete()
        row = services.broadcast("hello")
        deliver_due()
        assert fresh(row).status == Status.FAILED
        personal.title_template = "Hello"
        personal.save()
        assert services.resume_broadcast(row)
        assert row.status == Status.PENDING
        deliver_due()
        assert (fresh(row).status, row.queued, row.failed, row.failure_reason) == (Status.COMPLETED, 1, 0, "")

    def test_a_partly_written_broadcast_continues_where_it_stopped(self, people, push_settings):
        push_settings(BROADCAST_AHEAD=5)
        make_template("news", title_template="News")
        row = services.broadcast("news")
        fan_out()
        PushBroadcast.objects.update(status=Status.FAILED, finished_at=timezone.now())
        assert services.resume_broadcast(row)
        assert (row.status, row.finished_at) == (Status.RUNNING, None)
        deliver_due()
        assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)
        assert not services.resume_broadcast(row)


class TestPauseAndCancel:
    @pytest.mark.parametrize(
        ("act", "status"), [(services.pause_broadcast, Status.PAUSED), (services.cancel, Status.CANCELLED)]
    )
    def test_during_the_start_wins(self, people, monkeypatch, act, status):
        make_template("news", title_template="News")
        row = services.broadcast("news")
        count = fan_out_module.active_subscriptions

        def act_meanwhile():
            act(row)
            return count()

        monkeypatch.setattr(fan_out_module, "active_subscriptions", act_meanwhile)
        assert fan_out() == 0
        assert (fresh(row).status, row.queued, row.started_at) == (status, 0, None)
        assert not get_notification_model().objects.exists()

    @pytest.mark.parametrize(
        ("act", "status"), [(services.pause_broadcast, Status.PAUSED), (services.cancel, Status.CANCELLED)]
    )
    def test_between_the_lease_and_the_start_wins(self, people, caplog, act, status):
        make_template("news", title_template="News")
        row = services.broadcast("news")
        is_leased = False

        def act_after_the_lease(execute, sql, *rest):
            nonlocal is_leased
            result = execute(sql, *rest)
            if sql.startswith("UPDATE") and "lease_until" in sql and not is_leased:
                is_leased = True
                act(row)
            return result

        with connection.execute_wrapper(act_after_the_lease):
            assert fan_out() == 0
        assert (is_leased, fresh(row).status, row.failure_reason) == (True, status, "")
        assert "cannot continue" not in caplog.text

    @pytest.mark.parametrize(
        ("act", "status"), [(services.pause_broadcast, Status.PAUSED), (services.cancel, Status.CANCELLED)]
    )
    def test_before_the_end_wins(self, people, monkeypatch, act, status):
        make_template("news", title_template="News")
        row = services.broadcast("news")
        read = fan_out_module.read_part

        def act_at_the_end(*arguments, **options):
            page = read(*arguments, **options)
            if not page:
                act(row)
            return page

        monkeypatch.setattr(fan_out_module, "read_part", act_at_the_end)
        fan_out()
        assert fresh(row).status == status

    @pytest.mark.parametrize(
        ("act", "status"), [(services.pause_broadcast, Status.PAUSED), (services.cancel, Status.CANCELLED)]
    )
    def test_before_a_failure_wins(self, people, push_settings, act, status):
        make_template("news", title_template="News")
        row = services.broadcast("news", "everybody")

        def act_and_raise():
            act(row)
            raise LookupError

        push_settings(AUDIENCES={"everybody": act_and_raise})
        assert fan_out() == 0
        assert fresh(row).status == status


class TestTurns:
    @pytest.fixture(autouse=True)
    def _templates(self):
        make_template("news", title_template="News")
        make_template("alarm", title_template="Alarm", options={"urgency": "high"})

    def first_titles(self):
        return [message.title for message in outbox]

    def test_the_more_urgent_broadcast_goes_first(self, people):
        services.broadcast("news", urgency="low")
        services.broadcast("news")
        services.broadcast("alarm")
        deliver_due()
        assert self.first_titles()[:8] == ["Alarm"] * 8

    def test_the_older_of_two_equally_urgent_broadcasts_goes_first(self, people, push_settings):
        push_settings(BROADCAST_AHEAD=4)
        rows = [services.broadcast("news"), services.broadcast("news")]
        fan_out()
        assert [fresh(row).queued for row in rows] == [4, 0]
        fan_out()
        assert [fresh(row).queued for row in rows] == [4, 4]

    def test_deferred_rows_leave_room_for_others(self, people, push_settings):
        push_settings(BROADCAST_AHEAD=2)
        now = timezone.now()
        quiet = {
            "enabled": True,
            "start": f"{now - timedelta(hours=1):%H:%M}",
            "end": f"{now + timedelta(hours=1):%H:%M}",
            "timezone": "UTC",
        }
        get_subscription_model().objects.filter(pk__lte=people[5].pk).update(preferences={"quiet_hours": quiet})
        row = services.broadcast("news")
        assert deliver_due().sent == 2
        assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)

    def test_a_broadcast_without_recipients_gives_up_its_turn(self, people, push_settings):
        push_settings(AUDIENCES={"nobody": everybody().none})
        empty, next_one = services.broadcast("news", "nobody"), services.broadcast("news")
        assert fan_out() == 8
        assert (fresh(empty).status, fresh(next_one).queued) == (Status.COMPLETED, 8)

    def test_a_worker_that_lost_its_lease_writes_no_page_twice(self, people, monkeypatch):
        """Another worker writes the page while this one renders it: the cursor has moved, whatever the leases say."""
        row = services.broadcast("news")
        build, taken = fan_out_module.build_page, []

        def overslept(*arguments, **options):
            page = build(*arguments, **options)
            if not taken:
                taken.append(True)
                PushBroadcast.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
                assert fan_out() == 8
            return page

        monkeypatch.setattr(fan_out_module, "build_page", overslept)
        fan_out()
        assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)
        assert get_notification_model().objects.filter(batch=row.batch).count() == 8

    def test_two_workers_share_a_broadcast_without_repeats(self, people, push_settings):
        push_settings(BROADCAST_AHEAD=100)
        row = services.broadcast("news")

        def work():
            for _ in range(5):
                fan_out()
            connection.close()

        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)
        assert get_notification_model().objects.filter(batch=row.batch).values("subscription").distinct().count() == 8

    def test_a_large_audience_is_counted_in_slices_within_a_time_limit(self, people, monkeypatch):
        monkeypatch.setattr(fan_out_module, "COUNT_SLICE", 3)
        row = services.broadcast("news", "everybody")
        fan_out()
        assert fresh(row).total == 8
        monkeypatch.setattr(fan_out_module, "COUNT_SECONDS", 0)
        row = services.broadcast("news")
        fan_out()
        assert (fresh(row).total, row.processed) == (8, 8)


class TestRate:
    @pytest.fixture(autouse=True)
    def _template(self):
        make_template("news", title_template="News")

    def test_spreads_a_broadcast_over_time(self, people, time_machine):
        time_machine.move_to("2026-05-01T12:00:00Z", tick=False)
        row = services.broadcast("news", rate="120/m")
        assert fan_out() == 3
        assert fan_out() == 0
        time_machine.shift(timedelta(seconds=0.4))
        assert fan_out() == 0
        time_machine.shift(timedelta(seconds=1.2))
        assert fan_out() == 3
        time_machine.shift(timedelta(seconds=30))
        fan_out()
        assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)

    def test_a_sweep_writes_at_most_one_minute_of_rows(self, people, time_machine):
        time_machine.move_to("2026-05-01T12:00:00Z", tick=False)
        row = services.broadcast("news", rate="3/m")
        assert fan_out() == 1
        time_machine.shift(timedelta(hours=5))
        assert fan_out() == 4
        assert fresh(row).queued == 5

    def test_does_not_delay_other_broadcasts(self, people, time_machine):
        time_machine.move_to("2026-05-01T12:00:00Z", tick=False)
        services.broadcast("news", rate="1/h")
        quick = services.broadcast("news")
        fan_out()
        fan_out()
        assert fresh(quick).status == Status.COMPLETED

    @pytest.mark.parametrize("rate", ["", "5000", "0/m", "5000/w", "-1/s", "1.5/s", 5000])
    def test_is_refused_if_malformed(self, people, rate):
        with pytest.raises(InvalidOption, match='rate must be a number, a slash and s, m, h or d, such as "5000/m"'):
            services.broadcast("news", rate=rate)


def test_an_audience_expression_may_fail_in_the_database_for_one_subscription(people, push_settings):
    """A division by zero in the host's own expression, for one row: PostgreSQL refuses the whole statement."""
    make_template("news", title_template="News")
    if connection.vendor != "postgresql":
        pytest.skip("other databases give NULL for a division by zero")

    def dividing():
        ratio = Cast(Value(1.0), FloatField()) / (Cast("pk", FloatField()) - float(people[2].pk))
        return get_subscription_model().objects.annotate(ratio=ratio).exclude(ratio=7)

    push_settings(AUDIENCES={"dividing": dividing})
    with pytest.raises(DataError):
        list(dividing())
    row = services.broadcast("news", "dividing")
    deliver_due()
    assert (fresh(row).status, row.queued, row.failed) == (Status.COMPLETED, 7, 1)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite is never away")
def test_a_database_outage_while_a_page_is_rendered_fails_no_recipient(people, personal):
    def losing_the_database(user):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pg_backend_pid())"
                if connection.vendor == "postgresql"
                else "KILL CONNECTION CONNECTION_ID()"
            )
        return {"nickname": ""}

    row = services.broadcast("hello")
    refusal = pytest.raises((OperationalError, InterfaceError))
    with override_push_settings(RECIPIENT_CONTEXT=losing_the_database), refusal:
        fan_out()
    connection.close()
    assert (fresh(row).status, row.failed, row.lease_token) == (Status.RUNNING, 0, None)
    deliver_due()
    assert (fresh(row).status, row.queued) == (Status.COMPLETED, 7)


def test_a_database_timeout_is_retried_even_before_the_first_row(people, time_machine):
    make_template("news", title_template="News")

    def too_slow():
        raise OperationalError("canceling statement due to statement timeout")

    time_machine.move_to(timezone.now(), tick=False)
    row = services.broadcast("news", "everybody")
    with override_push_settings(AUDIENCES={"everybody": too_slow}):
        assert fan_out() == 0
    assert (fresh(row).status, row.failure_reason[:16]) == (Status.PENDING, "OperationalError")
    time_machine.shift(timedelta(seconds=fan_out_module.ERROR_PAUSE_SECONDS))
    deliver_due()
    assert fresh(row).status == Status.COMPLETED


@pytest.fixture
def _old_character_set():
    """Titles in a column that holds three bytes a character, as databases made for MySQL 5 have them."""
    table = get_notification_model()._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} MODIFY title VARCHAR(200) CHARACTER SET utf8mb3 NOT NULL")
        yield
        cursor.execute(f"ALTER TABLE {table} MODIFY title VARCHAR(200) CHARACTER SET utf8mb4 NOT NULL")


@pytest.mark.skipif(connection.vendor != "mysql", reason="other databases store every character")
@pytest.mark.usefixtures("_old_character_set")
def test_a_name_too_long_for_the_column_costs_one_row(people, push_settings):
    make_template("hello", title_template="Hello {{ recipient.nickname }}")
    push_settings(RECIPIENT_CONTEXT=lambda user: {"nickname": "🎉" if user.username == "user3" else user.username})
    row = services.broadcast("hello")
    deliver_due()
    assert (fresh(row).status, row.queued, row.failed) == (Status.COMPLETED, 7, 1)
    result = services.send_templated("hello", everybody())
    assert (result.queued, result.failed) == (7, 1)


def test_a_missing_table_fails_no_broadcast(people, time_machine):
    make_template("news", title_template="News")
    time_machine.move_to(timezone.now(), tick=False)
    row = services.broadcast("news")
    table, other = map(connection.ops.quote_name, (get_subscription_model()._meta.db_table, "renamed_away"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {other}")
        try:
            fan_out()
        finally:
            cursor.execute(f"ALTER TABLE {other} RENAME TO {table}")
    assert fresh(row).status in (Status.PENDING, Status.RUNNING)
    time_machine.shift(timedelta(seconds=fan_out_module.ERROR_PAUSE_SECONDS))
    deliver_due()
    assert (fresh(row).status, row.queued) == (Status.COMPLETED, 8)


def test_a_column_that_older_code_does_not_fill_fails_no_recipient(people, time_machine):
    make_template("news", title_template="News")
    time_machine.move_to(timezone.now(), tick=False)
    row = services.broadcast("news")
    with added_column(get_notification_model()):
        deliver_due()
        with pytest.raises(IntegrityError):
            services.send_templated("news", everybody())
    assert (fresh(row).status, row.processed, row.failed) == (Status.RUNNING, 0, 0)
    time_machine.shift(timedelta(seconds=fan_out_module.ERROR_PAUSE_SECONDS))
    deliver_due()
    assert (fresh(row).status, row.queued, row.failed) == (Status.COMPLETED, 8, 0)
