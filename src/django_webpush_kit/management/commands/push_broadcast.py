"""`manage.py push_broadcast TYPE`: send a template to an audience, watch it, pause, resume or cancel it."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_webpush_kit import services
from django_webpush_kit.database import outbox_database
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.heartbeats import worker_heartbeat
from django_webpush_kit.delivery.transport import close_transport
from django_webpush_kit.delivery.unfinished import finishing_before_exit
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.management.arguments import json_object
from django_webpush_kit.management.interruption import INTERRUPTED, Interruption, interruptible
from django_webpush_kit.management.reporting import ReportingCommand
from django_webpush_kit.models import PushBroadcast
from django_webpush_kit.outbox.broadcasts import BroadcastProgress, progress, stored_broadcasts

BAR_WIDTH = 30
COUNT_SHARE = 0.1
ENDED = (PushBroadcast.Status.COMPLETED, PushBroadcast.Status.CANCELLED, PushBroadcast.Status.FAILED)
WATCH_SECONDS = 0.5
PROGRESS_STEP = 1000
"""Rows delivered between two updates of the progress bar."""


class Command(ReportingCommand):
    """Start a broadcast, or act on one by its number."""

    help = "Send a template's message to an audience, or act on a broadcast by its number. Ctrl-C stops cleanly."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("type", nargs="?", metavar="TYPE", help="the notification template to send")
        parser.add_argument("--audience", default="all", help='"all", "opted-in" or a name from AUDIENCES')
        parser.add_argument("--context", type=json_object, metavar="JSON", help="the template's variables")
        parser.add_argument("--idempotency-key", help="running again with the same key starts no second broadcast")
        parser.add_argument(
            "--rate", help='maximum number of messages per unit of time, such as "5000/m" (s, m, h or d)'
        )
        parser.add_argument("--progress", action="store_true", help="show a progress bar until delivery is finished")
        parser.add_argument("--deliver", action="store_true", help="deliver in this process instead of the workers")
        for action in ("watch", "pause", "resume", "cancel"):
            parser.add_argument(f"--{action}", type=int, metavar="NUMBER", help=f"{action} this broadcast")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start a broadcast or act on one, then deliver or watch it if requested."""
        actions = [name for name in ("watch", "pause", "resume", "cancel") if options[name] is not None]
        if len(actions) + bool(options["type"]) != 1:
            raise CommandError("Pass a TYPE to send, or one of --watch, --pause, --resume and --cancel.")
        broadcast = self._act(actions[0], options[actions[0]]) if actions else self._start(options)
        if not (options["deliver"] or options["progress"] or options["watch"]):
            return
        with interruptible() as interruption:
            if options["deliver"]:
                with worker_heartbeat("push_broadcast --deliver", is_loop=False), finishing_before_exit():
                    self._deliver(broadcast, interruption, show=options["progress"])
            else:
                self._watch(broadcast, interruption)
            self._conclude(broadcast, interruption)

    def _start(self, options: dict[str, Any]) -> PushBroadcast:
        try:
            broadcast = services.broadcast(
                options["type"],
                options["audience"],
                options["context"],
                idempotency_key=options["idempotency_key"],
                rate=options["rate"],
            )
        except (WebPushKitError, TypeError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Broadcast {broadcast.pk} of {broadcast.type!r} to {broadcast.audience!r} is {broadcast.status}."
        )
        return broadcast

    def _act(self, action: str, number: int) -> PushBroadcast:
        broadcast = stored_broadcasts().filter(pk=number).first()
        if broadcast is None:
            raise CommandError(f"Broadcast {number} does not exist.")
        if action == "cancel":
            self.stdout.write(f"Cancelled {services.cancel(broadcast)} pending notifications.")
        elif action != "watch":
            act = services.pause_broadcast if action == "pause" else services.resume_broadcast
            if not act(broadcast):
                raise CommandError(f"Broadcast {number} is {broadcast.status}; it cannot be {action}d.")
        broadcast.refresh_from_db(using=outbox_database())
        self.stdout.write(f"Broadcast {number} is {broadcast.status}.")
        return broadcast

    def _deliver(self, broadcast: PushBroadcast, interruption: Interruption, *, show: bool) -> None:
        count = Counting(broadcast)
        try:
            while not interruption.is_requested:
                report = deliver_due(
                    limit=PROGRESS_STEP if show else None, is_stopped=lambda: interruption.is_requested
                )
                self._show(count())
                broadcast.refresh_from_db(using=outbox_database())
                is_paced = broadcast.status == PushBroadcast.Status.RUNNING and broadcast.next_page_at is not None
                if not report.more and not is_paced:
                    break
                if not report.claimed:
                    time.sleep(WATCH_SECONDS)
        finally:
            close_transport()

    def _watch(self, broadcast: PushBroadcast, interruption: Interruption) -> None:
        count = Counting(broadcast)
        while not interruption.is_requested:
            state = count()
            if broadcast.status == PushBroadcast.Status.PAUSED:
                return
            if broadcast.status in ENDED and state.ended >= state.written:
                return
            self._show(state)
            time.sleep(WATCH_SECONDS)

    def _show(self, state: BroadcastProgress, end: str = "\r") -> None:
        self.stdout.write(progress_line(state), ending=end)
        self.stdout.flush()

    def _conclude(self, broadcast: PushBroadcast, interruption: Interruption) -> None:
        """Report how the run ended. Exit code 1: the broadcast failed. 130: interrupted before the end."""
        state = progress(broadcast)
        self._show(state, end="\n")
        if broadcast.status == PushBroadcast.Status.FAILED:
            raise CommandError(
                f"Broadcast {broadcast.pk} failed: {broadcast.failure_reason}. "
                f"Fix the cause, then run push_broadcast --resume {broadcast.pk}."
            )
        if interruption.is_requested and (broadcast.status not in ENDED or state.ended < state.written):
            raise CommandError(
                f"Interrupted; broadcast {broadcast.pk} is {broadcast.status}, and the workers continue it. "
                f"Follow it with push_broadcast --watch {broadcast.pk}; stop it with --pause or --cancel.",
                returncode=INTERRUPTED,
            )
        waiting = state.written - state.ended
        if broadcast.status in ENDED and waiting > 0:
            self.stdout.write(f"Not due yet, such as retries: {waiting:,}. The workers send them in time.")


class Counting:
    """Counts the rows of a broadcast, unless that would take more than `COUNT_SHARE` of the time."""

    def __init__(self, broadcast: PushBroadcast) -> None:
        self._broadcast = broadcast
        self._latest = BroadcastProgress()
        self._next_at = 0.0

    def __call__(self) -> BroadcastProgress:
        """Return the current progress, or the latest that was counted."""
        started = time.monotonic()
        if started >= self._next_at:
            self._latest = progress(self._broadcast)
            ended = time.monotonic()
            self._next_at = ended + (ended - started) / COUNT_SHARE
        return self._latest


def progress_line(state: BroadcastProgress) -> str:
    """Return a progress bar, recipients done and total, rows not accepted, rate and remaining time."""
    share = state.done / state.total if state.total else 1.0
    bar = "#" * round(BAR_WIDTH * min(share, 1.0))
    line = f"[{bar:<{BAR_WIDTH}}] {state.done:,} of {state.total:,}"
    if state.unaccepted:
        line += f"  {state.unaccepted:,} not accepted"
    if state.rate is not None and state.remaining is not None:
        line += f"  {state.rate:,.0f}/s  {state.remaining:,.0f} s left"
    return line
