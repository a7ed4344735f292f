"""The studio on http://localhost:8000, for a real browser: `python example_project/serve.py [--port 8000]`.

Migrates and fills the database in `.demo/`, starts the site and the django-q2 cluster, and ends both on Ctrl-C. The
browser's own push service carries the notifications, so this needs the internet.
"""

import argparse
import sys
from pathlib import Path

from backstage.running import Interrupts, Studio, StudioError


def main():
    parser = argparse.ArgumentParser(description="Serve the booking studio on localhost until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parent.parent / ".demo")
    options = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows question marks
    try:
        options.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"{options.data} cannot be made ({error.strerror}). Try: make serve DATA=~/studio", file=sys.stderr)
        return 1
    interrupts = Interrupts()
    interrupts.install()
    try:
        with Studio(options.data, port=options.port, interrupts=interrupts) as studio:
            studio.check_port()
            studio.set_up(lambda command: print(f"  {command}"))
            print("  manage.py seed_history")
            studio.manage("seed_history")
            studio.start_site()
            studio.start_cluster()
            print(f"\nStudio Grünspecht is open: {studio.origin}   (Ctrl-C closes it)")
            print(f"The admin, with a sample history: {studio.origin}/admin/   (admin, password studio)")
            print(f"Log in as kaethe, juergen or zoe, password studio: {studio.origin}/login/")
            print(f"Then switch notifications on: {studio.origin}/notifications/\n", flush=True)
            studio.wait()
    except KeyboardInterrupt:
        print("\nClosed.")
        return 0
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
