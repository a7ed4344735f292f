"""axe-core in the page that a Chromium shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

AXE = Path(__file__).resolve().parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"

OF_DJANGO = {"label-title-only": ["#searchbar"], "empty-table-header": [".inline-group th"]}
"""What axe-core finds in pages of Django's own admin: rules, and the elements that break them."""


def examine(browser: Any) -> list[str]:
    """Return what axe-core finds in the page, as "rule: element"."""
    # not a script element, which the page's Content-Security-Policy would refuse
    browser._in_page("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
    found: list[str] = browser.run(
        """
        const [ofDjango] = arguments;
        const { violations } = await axe.run(document, { resultTypes: ["violations"] });
        return violations.flatMap(({ id, nodes }) =>
            nodes
                .filter(({ target }) => !ofDjango[id]?.some((one) => document.querySelector(target[0])?.closest(one)))
                .map(({ html, target, any }) => `${id}: ${target[0]} ${html.slice(0, 160)} ${any[0]?.message ?? ""}`),
        );
        """,
        OF_DJANGO,
    )
    return found
