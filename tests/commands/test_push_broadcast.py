"""`manage.py push_broadcast`."""

import os
import signal
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.management.commands import push_broadcast
from django_webpush_kit.management.interruption import interruptible
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_template_model
from django_webpush_kit.outbox.broadcasts import BroadcastProgress, progress
from django_webpush_kit.signals import pre_send
from django_webpush_kit.transports import PushResponse, locmem

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _template(db, make_subscription):
    get_template_model().objects.create(type="news", title_template="News {{ number }}")
    for _ in range(3):
        make_subscription()


def run(capsys, *arguments, **options):
    call_command("push_broadcast", *arguments, **options)
    return capsys.readouterr().out


def test_it_starts_a_broadcast_that_the_workers_fan_out(capsys):
    assert "'news' to 'all' is pending" in run(capsys, "news", context={"number": 7})
    assert deliver_due().sent == 3


def test_deliver_sends_in_this_process_and_shows_the_bar(capsys):
    out = run(capsys, "news", "--deliver", "--progress", "--context", '{"number": 7}')
    assert len(locmem.sent) == 3
    assert "] 3 of 3" in out
    assert "#" * push_broadcast.BAR_WIDTH in out


def test_deliver_leaves_retries_to_the_workers_and_says_so(capsys):
    locmem.answers.append(PushResponse(id=None, error="timed out"))
    out = run(capsys, "news", "--deliver", context={"number": 7})
    assert "2 of 3" in out
    assert out.endswith("Not due yet, such as retries: 1. The workers send them in time.\n")


def test_progress_is_shown_while_more_rows_wait_than_one_step_delivers(capsys, push_settings, monkeypatch):
    push_settings(BROADCAST_AHEAD=1)
    monkeypatch.setattr(push_broadcast, "PROGRESS_STEP", 1)
    out = run(capsys, "news", "--deliver", "--progress", context={"number": 7})
    assert "1 of 3" in out
    assert "3 of 3" in out


def test_watch_follows_the_workers_to_the_end(capsys, monkeypatch):
    monkeypatch.setattr(push_broadcast, "WATCH_SECONDS", 0.01)
    broadcast = services.broadcast("news", context={"number": 7})

    def work():
        deliver_due()
        connection.close()

    worker = threading.Timer(0.1, work)
    worker.start()
    out = run(capsys, watch=broadcast.pk)
    worker.join()
    assert "3 of 3" in out


def test_rows_are_counted_for_a_small_share_of_the_time(monkeypatch):
    """The figures of a broadcast to a million browsers take seconds."""
    count = push_broadcast.Counting(services.broadcast("news", context={"number": 7}))
    monkeypatch.setattr(push_broadcast, "COUNT_SHARE", 1e-9)
    first = count()
    assert count() is first
    count = push_broadcast.Counting(services.broadcast("news", context={"number": 7}))
    monkeypatch.setattr(push_broadcast, "COUNT_SHARE", 1e9)
    assert count() is not count()


def test_pause_resume_and_cancel_by_number(capsys):
    broadcast = services.broadcast("news", context={"number": 7})
    assert "is paused" in run(capsys, pause=broadcast.pk)
    assert "0 of 0" in run(capsys, watch=broadcast.pk)
    assert "is pending" in run(capsys, resume=broadcast.pk)
    with pytest.raises(CommandError, match="cannot be resumed"):
        run(capsys, resume=broadcast.pk)
    assert "is cancelled" in run(capsys, cancel=broadcast.pk)


def test_invalid_arguments_are_reported(capsys):
    with pytest.raises(CommandError, match="Pass a TYPE"):
        run(capsys)
    with pytest.raises(CommandError, match="Broadcast 77 does not exist"):
        run(capsys, watch=77)
    with pytest.raises(CommandError, match="'nothing'"):
        run(capsys, "nothing")
    with pytest.raises(CommandError, match="context"):
        run(capsys, "news", "--context", "[]")


def test_progress_shows_rate_and_remaining_time_once_known():
    assert push_broadcast.progress_line(BroadcastProgress()).endswith("0 of 0")
    state = BroadcastProgress(10_000, 6_000, 6_000, 5_000, 5_000, rate=2500.0, remaining=2.0)
    line = push_broadcast.progress_line(state)
    assert line.endswith("5,000 of 10,000  2,500/s  2 s left")


def test_progress_counts_finished_rows():
    broadcast = services.broadcast("news", context={"number": 7})
    assert progress(broadcast) == BroadcastProgress()
    deliver_due()
    assert progress(broadcast) == BroadcastProgress(total=3, processed=3, written=3, ended=3, accepted=3)
    assert PushBroadcast.objects.get().status == "completed"


class TestCtrlC:
    @pytest.fixture(autouse=True)
    def _interactive(self):
        """A shell starts programs in the background with SIGINT ignored."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    def test_ends_a_delivery_cleanly_and_another_run_finishes_it(self, capsys, push_settings):
        push_settings(CHUNK_SIZE=1)

        def interrupt(**kwargs):
            pre_send.disconnect(interrupt)
            signal.raise_signal(signal.SIGINT)

        pre_send.connect(interrupt)
        with pytest.raises(CommandError, match=r"Interrupted; broadcast \d+ is completed, and the workers") as error:
            run(capsys, "news", "--deliver", "--progress", context={"number": 7})
        assert error.value.returncode == 130
        rows = get_notification_model().objects
        assert not rows.filter(status="sending").exists()
        assert rows.filter(status="pending").exists()
        assert "3 of 3" in run(capsys, "--deliver", watch=PushBroadcast.objects.get().pk)
        assert rows.filter(status="sent").count() == 3

    def test_ends_watching_and_the_workers_go_on(self, capsys, monkeypatch):
        monkeypatch.setattr(push_broadcast, "WATCH_SECONDS", 0.01)
        broadcast = services.broadcast("news", context={"number": 7})
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(CommandError, match=f"Follow it with push_broadcast --watch {broadcast.pk}") as error:
            run(capsys, watch=broadcast.pk)
        timer.join()
        assert error.value.returncode == 130
        assert deliver_due().sent == 3

    def test_twice_ends_at_once(self):
        with interruptible() as interruption:
            signal.raise_signal(signal.SIGINT)
            assert interruption.is_requested
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    def test_is_handled_only_in_the_main_thread(self):
        before = signal.getsignal(signal.SIGINT)
        found = []

        def look():
            with interruptible() as interruption:
                found.append((signal.getsignal(signal.SIGINT), interruption.is_requested))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert found == [(before, False)]


def test_a_failed_broadcast_is_an_error_that_says_how_to_resume(capsys, push_settings):
    push_settings(AUDIENCES={"broken": lambda: 1 / 0})
    with pytest.raises(CommandError, match=r"failed: ZeroDivisionError: .* push_broadcast --resume \d+") as error:
        run(capsys, "news", "--deliver", "--audience", "broken", context={"number": 7})
    assert error.value.returncode == 1


def test_a_rate_limit_holds_until_the_end(capsys, monkeypatch, make_subscription):
    monkeypatch.setattr(push_broadcast, "WATCH_SECONDS", 0.05)
    for _ in range(3):
        make_subscription()
    out = run(capsys, "news", "--deliver", "--rate", "120/m", context={"number": 7})
    assert "3 of 6" in out
    assert "6 of 6" in out
    with pytest.raises(CommandError, match="rate must be"):
        run(capsys, "news", "--rate", "fast", context={"number": 7})


def test_rows_that_were_not_accepted_are_reported():
    by_status = {"sent": 3, "failed": 2}
    state = BroadcastProgress(total=5, processed=5, written=5, ended=5, accepted=3, by_status=by_status)
    assert push_broadcast.progress_line(state).endswith("5 of 5  2 not accepted")
