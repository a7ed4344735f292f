"""The processes that `deliver_push --processes` has started, as /proc knows them."""

from contextlib import suppress
from pathlib import Path


def children(process):
    """The running workers of a process: each leads a process group, unlike what Python starts by itself.

    From Python 3.14 on, a lock of multiprocessing starts a resource tracker; django-q2 makes one when it is imported.
    """
    with suppress(FileNotFoundError):
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return {number for number in map(int, listed.split()) if is_running(number) and leads_a_group(number)}
    return set()


def is_running(process_id):
    return _status(process_id)[:1] not in ([], ["Z"])


def leads_a_group(process_id):
    return _status(process_id)[2:3] == [str(process_id)]


def _status(process_id):
    """State, parent, group and more; nothing for a process that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return []
