"""Findings of `push_doctor`, and helpers for calls to services that may be down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ANSWER_SECONDS = 5.0
"""Timeout for the answer of a cache, a broker or a proxy."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. `level` is "error", "warning" or "hint"; `area` says where it was found, `fix` what to do."""

    level: str
    area: str
    text: str
    fix: str = ""


def guarded(area: str, examination: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run an examination and return its findings. An exception becomes a finding."""
    findings: list[Finding] = []
    try:
        findings.extend(examination())
    except Exception as error:  # noqa: BLE001  # in a broken installation, any check may raise
        findings.append(
            Finding("error", area, f"This part cannot be examined: {in_words(error)}", "Fix this error first.")
        )
    return findings


def in_words(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def failure(call: Callable[[], object]) -> str:
    """Return why a call to another service fails, or "" if it succeeds within `ANSWER_SECONDS`.

    The call runs in its own thread, because some clients have no timeout when a server does not answer.
    """
    answers: list[str] = []

    def run() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # clients raise errors of their own
            answers.append(in_words(error))
        else:
            answers.append("")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answers[0] if answers else f"no answer within {ANSWER_SECONDS:g} seconds"
