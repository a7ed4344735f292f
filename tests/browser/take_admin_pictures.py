"""Takes pictures of the admin's pages from the example site with its sample history.

python -m tests.browser.take_admin_pictures docs/images          # those of the documentation
python -m tests.browser.take_admin_pictures FOLDER --all         # each page, 390 and 1,280 pixels, light and dark
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path
from typing import Any

from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM
from tests.browser.studio import open_site, send_form

PAGES = {
    "admin-composer": "/admin/webpush_kit/pushbroadcast/add/?audience=sample",
    "admin-broadcast": "/admin/webpush_kit/pushbroadcast/{running}/change/",
    "admin-template": "/admin/webpush_kit/notificationtemplate/{template}/change/",
}

DOCUMENTED = (1280, "light")

SIZES = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]


def take_pictures(folder: Path, *, with_all: bool) -> None:
    """Write one PNG for each page, width and colour scheme."""
    with (
        tempfile.TemporaryDirectory() as data,
        FakeGCM() as service,
        Chromium(service) as browser,
        open_site(Path(data)) as studio,
    ):
        studio.manage("seed_history")
        found = studio.manage(
            "shell",
            "-c",
            "from django_webpush_kit.models import *;"
            "print('found', PushBroadcast.objects.get(status='running').pk,"
            "NotificationTemplate.objects.get(type='booking_confirmed', language='').pk)",
        )
        running, template = found.rpartition("found")[2].split()[:2]
        browser.open(f"{studio.origin}/admin/login/")
        send_form(browser, "#login-form", f"{studio.origin}/admin", {"username": "admin", "password": "studio"})
        for name, path in PAGES.items():
            browser.open(studio.origin + path.format(running=running, template=template))
            for width, scheme in SIZES if with_all else [DOCUMENTED]:
                target = folder / (f"{name}-{width}-{scheme}.png" if with_all else f"{name}.png")
                target.write_bytes(picture(browser, width, scheme))


def picture(browser: Chromium, width: int, scheme: str) -> bytes:
    """Return a PNG of the whole page."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser._in_page("Emulation.setEmulatedMedia", features=features)
    size: dict[str, Any] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser._in_page("Emulation.setDeviceMetricsOverride", **size)
    height = browser.run("return document.documentElement.scrollHeight")
    browser._in_page("Emulation.setDeviceMetricsOverride", **{**size, "height": min(height, 6000)})
    answer = browser._in_page("Page.captureScreenshot")
    return base64.b64decode(answer["data"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    take_pictures(options.folder, with_all=options.all)
