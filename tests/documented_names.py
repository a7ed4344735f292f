"""Reads the names that a reference page lists."""

from __future__ import annotations

import re


def names_in_table(page: str, heading: str) -> list[str]:
    """The names in the first column of the tables under a heading (of the page without one), without arguments."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else page
    cells = re.findall(r"^\| (.*?`.*?`.*?) \|", section, re.MULTILINE)
    return sorted(name for cell in cells for name in re.findall(r"`(\w+)(?:\([^`]*\))?`", cell))
