"""What the parts of `push_doctor` report, and how they look at services that may be away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ANSWER_SECONDS = 5.0
"""How long a cache, a broker or a proxy has to answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. `level` is "error", "warning" or "hint"; `area` says where it was found, `mend` what to do."""

    level: str
    area: str
    text: str
    mend: str = ""


def guarded(area: str, examination: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return the findings of an examination; if it raises, that is a finding, too."""
    findings: list[Finding] = []
    try:
        findings.extend(examination())
    except Exception as error:  # noqa: BLE001  # the doctor is there for set-ups in which anything may raise
        findings.append(
            Finding("error", area, f"This part cannot be examined: {in_words(error)}", "Mend this error first.")
        )
    return findings


def in_words(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def failure(call: Callable[[], object]) -> str:
    """Return why a call to another service fails, "" when it succeeds within `ANSWER_SECONDS`.

    The call runs in a thread of its own, because clients wait for a black hole as long as they like.
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
