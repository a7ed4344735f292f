"""Takes pictures of the admin's pages from the example site with its sample history.

python -m tests.browser.take_admin_pictures docs/images          # those of the documentation
python -m tests.browser.take_admin_pictures FOLDER --all         # each page: 390 to 1,600 pixels, light and dark
python -m tests.browser.take_admin_pictures FOLDER --all --theme unfold --only dashboard,statistics --width 390
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path
from typing import Any

from tests.browser.admin_pages import PAGES, fill, find_rows, log_in, open_page, theme_environment
from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM
from tests.browser.studio import open_site

DOCUMENTED = {"composer": "admin-composer", "broadcast": "admin-broadcast", "template": "admin-template"}

WIDTHS = (390, 768, 1280, 1600)

SCHEMES = ("light", "dark")

MAX_HEIGHT = 6000


def take_pictures(folder: Path, options: argparse.Namespace) -> None:
    """Write one PNG for each page, width and colour scheme."""
    with (
        tempfile.TemporaryDirectory() as data,
        FakeGCM() as service,
        Chromium(service) as browser,
        open_site(Path(data), **theme_environment(options.theme)) as studio,
    ):
        fill(studio)
        rows = find_rows(studio)
        log_in(browser, studio)
        if not options.all:
            prefer(browser, "light")
            for name, file in DOCUMENTED.items():
                open_page(browser, studio, name, rows)
                (folder / f"{file}.png").write_bytes(picture(browser, 1280))
            return
        for scheme in SCHEMES:
            prefer(browser, scheme)
            for name in options.only or PAGES:
                open_page(browser, studio, name, rows)
                for width in options.width or WIDTHS:
                    (folder / f"{name}-{width}-{scheme}.png").write_bytes(picture(browser, width))


def prefer(browser: Chromium, scheme: str) -> None:
    """Set the colour scheme of pages that are opened from now on: some themes read it only once."""
    browser._in_page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def picture(browser: Chromium, width: int) -> bytes:
    """Return a PNG of the whole page."""
    size: dict[str, Any] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser._in_page("Emulation.setDeviceMetricsOverride", **size)
    height = browser.run("return document.documentElement.scrollHeight")
    browser._in_page("Emulation.setDeviceMetricsOverride", **{**size, "height": min(height, MAX_HEIGHT)})
    answer = browser._in_page("Page.captureScreenshot")
    return base64.b64decode(answer["data"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="every page in every size, instead of those documented")
    parser.add_argument("--theme", default="", help="an admin theme that is installed: unfold or jazzmin")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of pages, with commas")
    parser.add_argument("--width", type=int, action="append", help="only this width")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    take_pictures(given.folder, given)
