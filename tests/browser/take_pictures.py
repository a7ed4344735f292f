"""Takes the README's pictures from the running example: `python -m tests.browser.take_pictures docs/images`.

With `--elements` it takes those of the elements in every state instead: light and dark, on phones and desktops, from
left to right and from right to left. With `--selection` it takes the few of them that the documentation shows.

Needs a font with emoji, such as Debian's fonts-noto-color-emoji.
"""

from __future__ import annotations

import base64
import itertools
import sys
import tempfile
from pathlib import Path

from django_webpush_kit.testing import FakePushService
from tests.browser.chromium import Chromium
from tests.browser.fake_gcm import FakeGCM
from tests.browser.firefox import Firefox
from tests.browser.gallery import STATES, Gallery
from tests.browser.studio import POTTERY, book, open_studio, subscribe
from tests.browser.waiting import wait_until

# draws the alert's window, which is not in the page: `drawSnapshot` works where nothing is on a screen
_DRAW_ALERT = """
    const [title, scale] = arguments;
    for (const window of Services.wm.getEnumerator("alert:alert")) {
        const label = window.document.getElementById("alertTitleLabel")?.getAttribute("value");
        const box = window.document.getElementById("alertBox");
        if (!window.gIsActive || label !== title) continue;
        for (const animation of box.getAnimations({subtree: true})) animation.cancel(); // it fades in, and out
        const {width, height} = box.getBoundingClientRect();
        return (async () => {
            const rectangle = new window.DOMRect(0, 0, width, height);
            const bitmap = await window.browsingContext.currentWindowGlobal.drawSnapshot(rectangle, scale, "white");
            const canvas = window.document.createElementNS("http://www.w3.org/1999/xhtml", "canvas");
            [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
            canvas.getContext("2d").drawImage(bitmap, 0, 0);
            return canvas.toDataURL("image/png").split(",")[1];
        })();
    }
    return "";
"""


def take_pictures(folder: Path) -> None:
    """Write `notification.png` and `page.png`."""
    with (
        tempfile.TemporaryDirectory() as data,
        FakePushService() as push_service,
        Firefox(push_service) as firefox,
        open_studio(Path(data)) as studio,
    ):
        subscribe(firefox, studio, "kaethe")
        book(firefox, studio, POTTERY)
        title = f"Booked: {POTTERY}"
        picture = wait_until(lambda: firefox.run_privileged(_DRAW_ALERT, title, 2), "the notification")
        (folder / "notification.png").write_bytes(base64.b64decode(picture))
        firefox.open(f"{studio.origin}/")
        firefox.run_privileged("window.resizeTo(1000, 780)")
        wait_until(lambda: firefox.run("return innerWidth <= 1000"), "the smaller window")
        firefox.screenshot(folder / "page.png")


_FRAME = """
    const frame = document.createElement("iframe");
    Object.assign(frame, { src: location.href, width: arguments[0], height: 800 });
    frame.style.border = 0;
    document.body.replaceChildren(frame);
"""


def take_pictures_of_elements(folder: Path) -> None:
    """Write one file for each state, look, size and direction, such as `prompt-ask-dark-ar-390.png`."""
    looks = itertools.product(STATES.items(), ("light", "dark"), ("en", "ar"), (390, 1280))
    with FakePushService() as push_service, Firefox(push_service) as firefox, Gallery() as gallery:
        for (name, query), theme, language, width in looks:
            firefox.open(f"{gallery.origin}/?{query}&theme={theme}&lang={language}")
            # in a frame, for the window cannot be as narrow as a phone
            firefox.run(_FRAME, width)
            wait_until(lambda: firefox.run("return frames[0]?.isReady ?? false"), name)
            firefox.run("await new Promise((done) => setTimeout(done, 400))")  # the prompt fades in
            firefox.screenshot(folder / f"{name.replace(' ', '-')}-{theme}-{language}-{width}.png")


SELECTION = {
    "element-preferences": "element=preferences&state=on",
    "element-preferences-dark-rtl": "element=preferences&state=on&theme=dark&lang=ar",
    "element-prompt": "element=prompt&state=needs-install&inline",
    "element-prompt-ask": "element=prompt&state=off&inline",
    "element-toggle": "element=toggle&state=on",
    "element-toggle-denied": "element=toggle&state=denied",
}


def take_selection(folder: Path) -> None:
    """Write one file for each of `SELECTION`, 520 pixels wide and as high as its content."""
    with FakeGCM() as service, Chromium(service) as chromium, Gallery() as gallery:
        for name, query in SELECTION.items():
            size = {"width": 520, "height": 400, "deviceScaleFactor": 1, "mobile": False}
            chromium._in_page("Emulation.setDeviceMetricsOverride", **size)
            chromium.open(f"{gallery.origin}/?{query}")
            wait_until(lambda: chromium.run("return window.isReady ?? false"), name)
            chromium.run("await new Promise((done) => setTimeout(done, 400))")
            height = chromium.run("return document.querySelector('main').getBoundingClientRect().bottom + 16")
            chromium._in_page("Emulation.setDeviceMetricsOverride", **{**size, "height": round(height)})
            chromium.screenshot(folder / f"{name}.png")


if __name__ == "__main__":
    if "--selection" in sys.argv:
        take_selection(Path(sys.argv[-1]))
    elif "--elements" in sys.argv:
        take_pictures_of_elements(Path(sys.argv[-1]))
    else:
        take_pictures(Path(sys.argv[1]))
