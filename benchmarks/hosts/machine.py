"""What this machine has that the bench needs. Imports nothing of Django, so that the settings can follow from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def missing() -> str:
    """What the bench needs and this machine does not have, in words; "" for nothing."""
    if sys.platform != "linux":
        return "Linux"
    if os.geteuid() != 0:
        return "root, for network namespaces"
    for program in ("ip", "setpriv"):
        if shutil.which(program) is None:
            return f"the program `{program}` (Debian: apt install iproute2 util-linux)"
    for package in ("celery", "psycopg"):
        if find_spec(package) is None:
            return f"the Python package {package}"
    try:
        postgresql_programs()
        rabbitmq_program()
        ip("netns", "add", f"probe-{os.getpid()}")
        ip("netns", "delete", f"probe-{os.getpid()}")
    except (LookupError, RuntimeError) as error:
        return str(error)
    return ""


def postgresql_programs() -> Path:
    """The folder of PostgreSQL's programs, the newest version's. Raises LookupError without one."""
    # Debian keeps them out of the PATH
    folders = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    for folder in (*reversed(folders), *([Path(found).parent] if found else [])):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise LookupError("PostgreSQL's server (Debian: apt install postgresql)")


def rabbitmq_program() -> Path:
    """RabbitMQ's own start script: that of a distribution changes the user and the environment. Raises LookupError."""
    for pattern in ("rabbitmq/bin/rabbitmq-server", "rabbitmq/lib/*/sbin/rabbitmq-server"):
        for found in sorted(Path("/usr/lib").glob(pattern)):
            return found
    raise LookupError("RabbitMQ (Debian: apt install rabbitmq-server)")


def free_subnet() -> str:
    """The first three numbers of a private network that this machine has no route to."""
    taken = {route["dst"].rpartition(".")[0] for route in json.loads(ip("-json", "route", "show") or "[]")}
    return next(subnet for number in range(77, 256) if (subnet := f"10.213.{number}") not in taken)


def ip(*arguments: str) -> str:
    """Run `ip` and return what it prints. Raises RuntimeError when it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`ip {' '.join(arguments)}` to work: {done.stderr.strip()}")
    return done.stdout
