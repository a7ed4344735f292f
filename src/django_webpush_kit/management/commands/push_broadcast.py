"""`manage.py push_broadcast TYPE`: send a template to an audience, watch it, pause, resume or cancel it."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.transport import close_transport
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.management.arguments import json_object
from django_webpush_kit.models import PushBroadcast
from django_webpush_kit.outbox.broadcasts import BroadcastProgress, progress

BAR_WIDTH = 30
ENDED = (PushBroadcast.Status.COMPLETED, PushBroadcast.Status.CANCELLED, PushBroadcast.Status.FAILED)
WATCH_SECONDS = 0.5


class Command(BaseCommand):
    """Start a broadcast, or act on one by its number."""

    help = "Send a template's message to an audience; the workers fan it out. Or act on a broadcast by its number."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("type", nargs="?", metavar="TYPE", help="the notification template to send")
        parser.add_argument("--audience", default="all", help='"all", "opted-in" or a name from AUDIENCES')
        parser.add_argument("--context", type=json_object, metavar="JSON", help="the template's variables")
        parser.add_argument("--idempotency-key", help="the same key again finds the same broadcast")
        parser.add_argument("--progress", action="store_true", help="show a bar until everything is delivered")
        parser.add_argument("--deliver", action="store_true", help="deliver in this process instead of the workers")
        for action in ("watch", "pause", "resume", "cancel"):
            parser.add_argument(f"--{action}", type=int, metavar="NUMBER", help=f"{action} this broadcast")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start or act, then perhaps watch."""
        actions = [name for name in ("watch", "pause", "resume", "cancel") if options[name] is not None]
        if len(actions) + bool(options["type"]) != 1:
            raise CommandError("Give a TYPE to send, or one of --watch, --pause, --resume and --cancel.")
        broadcast = self._act(actions[0], options[actions[0]]) if actions else self._start(options)
        if options["deliver"]:
            self._deliver(broadcast, show=options["progress"])
        elif options["progress"] or options["watch"]:
            self._watch(broadcast)

    def _start(self, options: dict[str, Any]) -> PushBroadcast:
        try:
            broadcast = services.broadcast(
                options["type"], options["audience"], options["context"], idempotency_key=options["idempotency_key"]
            )
        except (WebPushKitError, TypeError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Broadcast {broadcast.pk} of {broadcast.type!r} to {broadcast.audience!r} is {broadcast.status}."
        )
        return broadcast

    def _act(self, action: str, number: int) -> PushBroadcast:
        broadcast = PushBroadcast.objects.filter(pk=number).first()
        if broadcast is None:
            raise CommandError(f"There is no broadcast {number}.")
        if action == "cancel":
            self.stdout.write(f"{services.cancel(broadcast)} waiting notifications cancelled.")
        elif action != "watch":
            act = services.pause_broadcast if action == "pause" else services.resume_broadcast
            if not act(broadcast):
                raise CommandError(f"Broadcast {number} is {broadcast.status}; it cannot be {action}d.")
        broadcast.refresh_from_db()
        self.stdout.write(f"Broadcast {number} is {broadcast.status}.")
        return broadcast

    def _deliver(self, broadcast: PushBroadcast, *, show: bool) -> None:
        try:
            while deliver_due(limit=None if not show else 1000).more:
                self._show(progress(broadcast))
        finally:
            close_transport()
        self._show(progress(broadcast), end="\n")

    def _watch(self, broadcast: PushBroadcast) -> None:
        while True:
            state = progress(broadcast)
            is_over = broadcast.status in ENDED and state.ended >= state.written
            self._show(state, end="\n" if is_over or broadcast.status == PushBroadcast.Status.PAUSED else "\r")
            if is_over or broadcast.status == PushBroadcast.Status.PAUSED:
                return
            time.sleep(WATCH_SECONDS)

    def _show(self, state: BroadcastProgress, end: str = "\r") -> None:
        self.stdout.write(progress_line(state), ending=end)
        self.stdout.flush()


def progress_line(state: BroadcastProgress) -> str:
    """A bar, counts, rate and remaining time."""
    share = state.ended / state.total if state.total else 1.0
    bar = "#" * round(BAR_WIDTH * min(share, 1.0))
    line = f"[{bar:<{BAR_WIDTH}}] {state.ended:,} of {state.total:,}"
    if state.rate is not None and state.remaining is not None:
        line += f"  {state.rate:,.0f}/s  {state.remaining:,.0f} s left"
    return line
