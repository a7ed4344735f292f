"""The code that the how-to pages show."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
APPS = Path(__file__).resolve().parent / "apps"
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, *languages: str) -> list[str]:
    """The blocks of code in these languages on the page `docs/how-to/<page>.md`, in its order."""
    text = (HOW_TO / f"{page}.md").read_text()
    return [dedent(code) for _indent, language, code in _BLOCK.findall(text) if language in languages]


def settings_blocks(page: str) -> list[str]:
    """The blocks of a page that belong into a project's settings."""
    return [code for code in blocks(page, "python") if code.startswith("# settings.py\n")]
