"""A play in eleven scenes, about a minute long: `python example_project/demo.py`.

Everything is real but the browsers and their push service, and those are strict: an HTTP server that checks every
request against the RFCs, and browsers that decrypt with their own keys. The site and the django-q2 cluster run as
processes of their own on a fresh SQLite. Whatever does not happen as told ends the play with exit code 1.
"""

import logging
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack

import django
from backstage.running import Interrupts, Studio, StudioError
from backstage.terminal import Screen

from django_webpush_kit.testing import FakePushService

ENVIRONMENT = {"STUDIO_ALLOW_PRIVATE_ENDPOINTS": "1", "STUDIO_RETRY_SECONDS": "1"}


def main():
    """Perform; the exit code is 0 when everything happened, 130 after Ctrl-C, else 1."""
    screen, interrupts = Screen(), Interrupts()
    interrupts.install()
    began = time.monotonic()
    screen.title("Studio Grünspecht 🌳 a play about django-webpush-kit")
    screen.say("It takes about a minute: site, queue and push service really run.")
    try:
        perform(screen, interrupts)
    except KeyboardInterrupt:
        screen.failure("Interrupted. The curtain falls, nothing keeps running.")
        return 128 + signal.SIGINT
    except (AssertionError, StudioError) as error:
        screen.failure(str(error))
        return 1
    screen.title(f"Curtain. {time.monotonic() - began:.0f} seconds, and nothing is left running. 👏")
    return 0


def perform(screen, interrupts):
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="webpush-kit-demo-"))
        push_service = stack.enter_context(FakePushService())
        studio = stack.enter_context(Studio(folder, environment=ENVIRONMENT, interrupts=interrupts))
        set_stage(screen, studio, push_service)
        # only now, because these import models
        from backstage.play import Play, gather_cast
        from django.db import connections

        stack.callback(connections.close_all)
        Play(screen, studio, push_service, gather_cast(stack, studio.origin)).perform()


def set_stage(screen, studio, push_service):
    """Fill a fresh database, start the processes, and let this process see the same database."""
    screen.scene("The stage is set")
    studio.set_up(screen.done)
    studio.start_site()
    screen.done(f"the site, on {studio.origin}")
    studio.start_cluster()
    screen.done("a django-q2 cluster, its queue in the same SQLite")
    screen.done(f"a push service, on {push_service.origin}")
    os.environ.update(studio.environment)
    django.setup()
    logging.getLogger("django-q").setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
