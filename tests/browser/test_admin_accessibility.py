"""axe-core looks at every page of ours in the admin, in a real Chromium, light and dark."""

from __future__ import annotations

import pytest

from tests.browser.admin_pages import PAGES, fill, find_rows, log_in, open_page
from tests.browser.axe import AXE, examine
from tests.browser.studio import open_site

pytest.importorskip("django_q", reason="the example site's task backend")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not AXE.exists(), reason="npm install --prefix js has not been run"),
]


def test_axe_finds_nothing_of_ours(chromium, studio_folder):
    found = {}
    with open_site(studio_folder) as studio:
        fill(studio)
        rows = find_rows(studio)
        log_in(chromium, studio)
        try:
            for scheme in ("light", "dark"):
                features = [{"name": "prefers-color-scheme", "value": scheme}]
                chromium._in_page("Emulation.setEmulatedMedia", features=features)
                for name in PAGES:
                    open_page(chromium, studio, name, rows)
                    if problems := examine(chromium):
                        found[name, scheme] = problems
        finally:
            chromium._in_page("Emulation.setEmulatedMedia", features=[])
    assert found == {}
