"""`manage.py deliver_push`: in this process, and as a process that gets signals."""

import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.management.commands import deliver_push
from django_webpush_kit.management.commands.deliver_push import BatchLines, Worker, summary
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.services import send
from django_webpush_kit.signals import pre_send
from tests.commands.process_tree import children, is_running

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments, **options):
    out = StringIO()
    call_command("deliver_push", *arguments, stdout=out, **options)
    return out.getvalue()


def statuses():
    return Counter(get_notification_model().objects.values_list("status", flat=True))


@pytest.fixture
def on_send():
    """Connect a receiver to `pre_send` for this test."""
    connected = []

    def connect(receiver):
        connected.append(receiver)
        pre_send.connect(receiver)

    yield connect
    for receiver in connected:
        pre_send.disconnect(receiver)


def test_one_pass_delivers_due_rows_and_reports_them(subscription, push_outbox, push_settings):
    push_settings(CHUNK_SIZE=2, TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
    for number in range(5):
        send(subscription, f"Number {number}")
    send(subscription, "Later", scheduled_for=timezone.now() + timedelta(hours=1))
    printed = run()
    assert printed.startswith("5 claimed in ")
    assert printed.endswith("5 sent\n")
    assert len(push_outbox) == 5
    assert statuses() == {"sent": 5, "pending": 1}


def test_it_says_if_nothing_is_due_and_is_silent_at_verbosity_0():
    assert run() == "No notifications were due.\n"
    assert run(verbosity=0) == ""


def test_limit_bounds_a_pass_and_a_loop(subscription):
    for number in range(5):
        send(subscription, f"Number {number}")
    run("--limit", "2")
    assert statuses() == {"sent": 2, "pending": 3}
    run("--loop", "--limit", "1")
    assert statuses() == {"sent": 3, "pending": 2}


def test_seconds_bound_a_loop(subscription):
    send(subscription, "Now")
    run("--loop", "--seconds", "1", "--interval", "0.05")
    assert statuses() == {"sent": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--interval", "2"),
        ("--interval", "0"),
        ("--limit", "0"),
        ("--seconds", "-1"),
        ("--processes", "0"),
        ("--processes", "2"),
        ("--processes", "2", "--loop", "--limit", "1"),
    ],
)
def test_invalid_bounds_are_refused(arguments):
    with pytest.raises(CommandError, match=arguments[0]):
        run(*arguments)


def test_several_processes_require_fork(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(CommandError, match=r"needs fork\(\)"):
        run("--loop", "--processes", "2")


def test_a_loop_sleeps_no_longer_than_until_the_next_row_is_due(subscription, monkeypatch):
    send(subscription, "Soon", scheduled_for=timezone.now() + timedelta(seconds=0.3))
    sleeps, sleep = [], time.sleep
    monkeypatch.setattr(deliver_push.time, "sleep", lambda seconds: (sleeps.append(seconds), sleep(seconds)))
    run("--loop", "--limit", "1", "--seconds", "30")
    assert statuses() == {"sent": 1}
    assert max(sleeps, default=0) <= 0.3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_chunk_in_flight(subscription, on_send, push_settings, number):
    push_settings(CHUNK_SIZE=2)
    for count in range(5):
        send(subscription, f"Number {count}")

    before = signal.getsignal(number)
    receiver = once(lambda **arguments: signal.raise_signal(number))
    on_send(receiver)
    printed = run("--loop")
    assert printed.endswith("2 sent\n")
    assert statuses() == {"sent": 2, "pending": 3}
    assert signal.getsignal(number) is before


def once(function):
    """The function, for its first call only."""
    calls = []

    def called(**arguments):
        if not calls:
            calls.append(1)
            function(**arguments)

    return called


def test_a_signal_during_the_last_chunk_is_not_followed_by_a_sleep(subscription, on_send, monkeypatch):
    send(subscription, "One")
    sleeps = []
    monkeypatch.setattr(deliver_push.time, "sleep", sleeps.append)
    receiver = once(lambda **arguments: signal.raise_signal(signal.SIGTERM))
    on_send(receiver)
    run("--loop")
    assert statuses() == {"sent": 1}
    assert sleeps == []


def test_a_signal_ends_a_single_pass_too(subscription, on_send, push_settings):
    push_settings(CHUNK_SIZE=1)
    send(subscription, "One")
    send(subscription, "Two")
    receiver = once(lambda **arguments: signal.raise_signal(signal.SIGTERM))
    on_send(receiver)
    run()
    assert statuses() == {"sent": 1, "pending": 1}


@pytest.fixture
def interrupts():
    """SIGINT raises KeyboardInterrupt, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_a_second_signal_has_its_usual_effect():
    with Worker().stopped_by_signals():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="takes the table away under the worker")
def test_a_loop_outlives_a_database_that_is_away(subscription, caplog, monkeypatch):
    """The table is renamed away and back: the same error a database gives that is being restored or migrated."""
    table = get_notification_model()._meta.db_table
    send(subscription, "After the outage")
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            rename(f"{table}_away", table)

    rename(table, f"{table}_away")
    monkeypatch.setattr(deliver_push.time, "sleep", sleep)
    with caplog.at_level(logging.WARNING, logger="django_webpush_kit"):
        Worker(seconds=60, limit=1).run_for_ever(1.0)
    messages = [record.getMessage() for record in caplog.records]
    assert statuses() == {"sent": 1}
    start = "The tables of django_webpush_kit are missing or out of date: run manage.py migrate. Retrying: "
    assert messages == [f"{start}no such table: {table}", "The database answers again"]


@pytest.fixture
def file(tmp_path):
    """This process keeps a connection open to a copy of the SQLite database in this file."""
    usual = connection.settings_dict.copy()
    file = tmp_path / "live.sqlite3"
    copy_to(file)
    connection.close()
    connection.settings_dict |= {"NAME": str(file), "CONN_MAX_AGE": None}
    yield file
    connection.close()
    connection.settings_dict |= usual


def copy_to(file):
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(file)])


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="other databases are no files")
def test_a_loop_opens_the_file_that_replaced_the_one_of_its_database(
    subscription, file, tmp_path, caplog, push_outbox, push_settings
):
    push_settings(TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
    send(subscription, "In both files")
    restored = tmp_path / "restored.sqlite3"
    copy_to(restored)

    def restore():
        if restored.exists():
            for suffix in ("-wal", "-shm"):
                file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
            restored.replace(file)

    with caplog.at_level(logging.WARNING, logger="django_webpush_kit"):
        Worker(seconds=60, limit=2, on_turn=restore).run_for_ever(0.1)
    assert len(push_outbox) == 2
    [record] = caplog.records
    assert record.getMessage() == "The file of the SQLite database was deleted or replaced; it is opened again"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="takes the table away under the worker")
def test_a_single_pass_reports_a_database_that_is_away():
    table = get_notification_model()._meta.db_table
    rename(table, f"{table}_away")
    try:
        with pytest.raises(CommandError, match=r"Run: python manage\.py migrate") as caught:
            run()
        assert isinstance(caught.value.__cause__, OperationalError)
    finally:
        rename(f"{table}_away", table)


def rename(old, new):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


@contextmanager
def running(tmp_path, *arguments):
    """The command as systemd runs it, on a copy of this test's database; yields the process and the copy."""
    path = tmp_path / "outbox.sqlite3"
    code = (
        "import django, os, sys; from django.conf import settings; "
        "settings.DATABASES['default']['NAME'] = os.environ['OUTBOX']; "
        "settings.WEBPUSH_KIT['VAPID_PRIVATE_KEY'] = os.environ['KEY']; "
        "django.setup(); from django.core.management import call_command; call_command('deliver_push', *sys.argv[1:])"
    )
    environment = {**os.environ, "OUTBOX": str(path), "KEY": kit_settings.VAPID_PRIVATE_KEY}
    with closing(sqlite3.connect(path, timeout=20)) as copy:
        connection.connection.backup(copy)
        with subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process, copy
            finally:
                process.kill()


def sent_in(copy):
    table = get_notification_model()._meta.db_table
    return copy.execute(f"SELECT count(*) FROM {table} WHERE status = 'sent'").fetchone()[0]


on_a_copy = pytest.mark.skipif(connection.vendor != "sqlite", reason="copies the database into a file")


@on_a_copy
def test_a_real_process_delivers_and_ends_with_code_0_on_sigterm(subscription, tmp_path):
    send(subscription, "For the process")
    with running(tmp_path, "--loop") as (process, copy):
        assert wait_for(lambda: sent_in(copy) == 1, seconds=30)
        process.send_signal(signal.SIGTERM)
        printed, _nothing = process.communicate(timeout=30)
    assert process.returncode == 0
    assert printed.endswith("1 sent\n")


@on_a_copy
def test_a_loop_says_that_it_waits_and_what_it_has_done_while_it_runs(subscription, tmp_path):
    send(subscription, "For the process")
    with running(tmp_path, "--loop") as (process, _copy):
        assert process.stdout.readline() == "Waiting for notifications.\n"
        assert re.fullmatch(r"\d\d:\d\d:\d\d 1 sent\n", process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@on_a_copy
def test_a_loop_goes_on_when_nobody_reads_its_output_any_more(subscription, tmp_path):
    send(subscription, "Nobody reads about it")
    with running(tmp_path, "--loop") as (process, copy):
        process.stdout.close()
        assert wait_for(lambda: sent_in(copy) == 1, seconds=30)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert "Delivering" not in process.stderr.read()


class Terminal(StringIO):
    """A terminal that notes what was flushed."""

    def __init__(self):
        super().__init__()
        self.flushed = ""

    def isatty(self):
        return True

    def flush(self):
        self.flushed = self.getvalue()


def test_on_a_terminal_it_says_how_to_end_it_and_shows_every_line_at_once(subscription, on_send, push_settings):
    push_settings(TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
    send(subscription, "One")
    out, seen = Terminal(), []
    on_send(lambda **arguments: seen.append(out.flushed))
    call_command("deliver_push", "--loop", "--seconds", "1", stdout=out, no_color=True)
    assert seen == ["Waiting for notifications. Press Ctrl-C to stop.\n"]
    assert re.search(r"^\d\d:\d\d:\d\d 1 sent$", out.getvalue(), re.MULTILINE)


def test_lines_sum_up_what_was_done_since_the_last_one(time_machine):
    time_machine.move_to(datetime(2026, 3, 1, 12, 1, 3, tzinfo=ZoneInfo(settings.TIME_ZONE)), tick=False)
    lines, worker, clock = [], Worker(), [100.0]
    batches = BatchLines(lines.append, worker, seconds=10, clock=lambda: clock[0])
    batches.note()
    worker.outcomes += Counter(sent=3, failed=1)
    batches.note()
    batches.note()
    worker.outcomes += Counter(sent=1)
    clock[0] += 9
    batches.note()
    worker.outcomes += Counter(retried=2)
    clock[0] += 1
    batches.note()
    assert lines == ["12:01:03 3 sent, 1 failed", "12:01:03 1 sent, 2 retried"]


@on_a_copy
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_several_processes_deliver_and_a_dead_one_is_replaced(subscription, tmp_path, number):
    for count in range(3):
        send(subscription, f"Number {count}")
    with running(tmp_path, "--loop", "--processes", "3") as (process, copy):
        assert wait_for(lambda: sent_in(copy) == 3, seconds=90)
        assert wait_for(lambda: len(children(process)) == 3, seconds=90)
        first = children(process)
        killed = min(first)
        os.kill(killed, signal.SIGKILL)
        assert wait_for(lambda: len(children(process) - first) == 1, seconds=90)
        assert children(process) >= first - {killed}
        process.send_signal(number)
        _printed, complaints = process.communicate(timeout=90)
    assert process.returncode == 0
    assert f"Worker process {killed} ended with -9" in complaints


@on_a_copy
def test_processes_end_with_their_parent(subscription, tmp_path):
    with running(tmp_path, "--loop", "--processes", "2") as (process, _copy):
        assert wait_for(lambda: len(children(process)) == 2, seconds=90)
        left = children(process)
        process.kill()
        process.wait(30)
        assert wait_for(lambda: not any(is_running(number) for number in left), seconds=90)


@on_a_copy
def test_processes_whose_time_is_up_are_not_replaced(tmp_path):
    connection.ensure_connection()
    with running(tmp_path, "--loop", "--processes", "2", "--seconds", "0.5") as (process, _copy):
        printed, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert printed == "Waiting for notifications.\n" + "No notifications were due.\n" * 2


@pytest.mark.parametrize(
    ("step", "ends"),
    [("raise KeyError('work')", 1), ("sys.exit(3)", 1), ("os.kill(os.getpid(), signal.SIGKILL)", -9)],
)
def test_a_process_whose_work_fails_is_replaced(tmp_path, step, ends):
    """The second process finds the file of the first and returns."""
    code = f"""if True:
        import logging, os, pathlib, signal, sys
        from django.conf import settings
        from django_webpush_kit.delivery.processes import WorkerProcesses
        logging.basicConfig()
        settings.configure()
        mark = pathlib.Path("mark")
        def work():
            if mark.exists():
                return print("worked", end="")
            mark.touch()
            {step}
        WorkerProcesses(1, work, lambda process_id, how: print(how, end=", ")).run()
        print(" once", end="")
    """
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    how = f"killed by signal {-ends}" if ends < 0 else f"ended with exit code {ends}"
    assert result.stdout == f"{how}, worked once"
    assert f"ended with {ends}; a new one is started" in result.stderr
    assert ("KeyError: 'work'" in result.stderr) == ("KeyError" in step)


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_the_summary_counts_outcomes_and_omits_zeros():
    assert summary(3, Counter(sent=2, retried=1, failed=0), 1.23) == "3 claimed in 1.2 s: 2 sent, 1 retried"
