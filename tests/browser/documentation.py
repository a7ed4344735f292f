"""The built documentation, as readers see it on a phone and on a small laptop.

python -m tests.browser.documentation FOLDER    # pictures of ten pages, 360 and 1,366 pixels, light and dark
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM

DOCS = Path(__file__).resolve().parents[2] / "docs"

WIDTHS = (360, 1366)

PAGES = (
    "index",
    "tutorial",
    "how-to/pages",
    "how-to/deployment",
    "how-to/troubleshooting",
    "reference/settings",
    "reference/services",
    "reference/javascript",
    "explanation/architecture",
    "explanation/performance",
)


def build(folder: Path) -> Path:
    """Build the documentation in this folder, and return it."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--builder", "html", DOCS, folder]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return folder


def show(browser: Chromium, page: Path, width: int, scheme: str = "light") -> None:
    """Open a page in a window of this width."""
    browser._in_page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    size: dict[str, Any] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser._in_page("Emulation.setDeviceMetricsOverride", **size)
    browser.open(page.as_uri())


def take_pictures(folder: Path) -> None:
    """Write one PNG for the first screens of each page, width and colour scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as built, FakeGCM() as service, Chromium(service) as browser:
        site = build(Path(built))
        for page in PAGES:
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    show(browser, site / f"{page}.html", width, scheme)
                    answer = browser._in_page("Page.captureScreenshot")
                    target = folder / f"{page.replace('/', '-')}-{width}-{scheme}.png"
                    target.write_bytes(base64.b64decode(answer["data"]))


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
