"""Databases that are not one: a replica that lags, a second database for push, PgBouncer in transaction mode."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.host_project import free_port
from tests.hosts.host import Host, goes_the_whole_way

ROUTERS = (Path(__file__).parent.parent / "routers.py").read_text()

REPLICA = """
DATABASES["replica"] = {**DATABASES["default"], "NAME": BASE_DIR / "replica.sqlite3"}
DATABASE_ROUTERS = ["mysite.routers.PrimaryReplicaRouter"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
WEBPUSH_KIT["TASK_BACKEND"] = "django_webpush_kit.task_backends.NullBackend"
"""

PUSH = """
DATABASES["push"] = {**DATABASES["default"], "NAME": BASE_DIR / "push.sqlite3"}
DATABASE_ROUTERS = ["mysite.routers.PushRouter"]
"""

POSTGRESQL = """
DATABASES["default"] = {{
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "{name}", "USER": "postgres", "HOST": "127.0.0.1", "PORT": {port},
    "DISABLE_SERVER_SIDE_CURSORS": True,
}}
WEBPUSH_KIT["TASK_BACKEND"] = "django_webpush_kit.task_backends.NullBackend"
"""

BOUNCER = """
[databases]
* = host=127.0.0.1 port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
pidfile = {folder}/pgbouncer.pid
logfile = {folder}/pgbouncer.log
user = nobody
"""


def test_a_replica_that_never_catches_up(tmp_path, push_service):
    """The replica has the tables and the superuser of the start, and never hears of anything since."""
    host = Host(tmp_path, settings=REPLICA, files={"mysite/routers.py": ROUTERS})
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text().replace("DATABASE_ROUTERS =", "ROUTERS ="))
    host.set_up()
    shutil.copy(tmp_path / "db.sqlite3", tmp_path / "replica.sqlite3")
    settings.write_text(settings.read_text().replace("ROUTERS =", "DATABASE_ROUTERS ="))
    with host.served() as origin, host.running("deliver_push", "--loop"):
        goes_the_whole_way(origin, push_service)


def test_push_tables_in_a_separate_database_work_or_are_refused_with_a_reason(tmp_path, push_service):
    host = Host(tmp_path, settings=PUSH, files={"mysite/routers.py": ROUTERS})
    host.run("manage.py", "generate_vapid_keys", "--format", "pem", "--output", "vapid.pem")
    check = subprocess_output(host, "manage.py", "check")
    if "webpush_kit.E" in check:
        assert "database" in check
        return
    for database in ("default", "push"):
        host.run("manage.py", "migrate", "--database", database, "--verbosity", "0")
    host.run("manage.py", "createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com")
    with host.served() as origin:
        goes_the_whole_way(origin, push_service)


@contextmanager
def pgbouncer(folder: Path) -> Iterator[int]:
    """PgBouncer in transaction mode; yields its port."""
    port = free_port()
    folder.chmod(0o777)
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(BOUNCER.format(port=port, folder=folder))
    process = subprocess.Popen([shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", str(configuration)])
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def test_pgbouncer_in_transaction_mode(tmp_path, tmp_path_factory, postgresql, push_service):
    folder = Path("/tmp") / f"pgbouncer-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        with pgbouncer(folder) as port:
            host = Host(tmp_path, settings=POSTGRESQL.format(name=postgresql, port=port))
            host.set_up()
            with host.served() as origin, host.running("deliver_push", "--loop"):
                goes_the_whole_way(origin, push_service)
    finally:
        shutil.rmtree(folder)


def subprocess_output(host: Host, *arguments: str) -> str:
    """What a command prints, whether it fails or not."""
    try:
        return host.run(*arguments)
    except AssertionError as error:
        return str(error)
