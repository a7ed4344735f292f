"""The documentation can be read on a phone and on a small laptop."""

from __future__ import annotations

import pytest

from tests.browser.documentation import DOCS, WIDTHS, build, show

pytestmark = pytest.mark.browser

TOO_WIDE = """
    const width = document.documentElement.clientWidth;
    const main = document.querySelector("article");
    const inScroller = (element) => {
        for (let parent = element.parentElement; parent && parent !== main; parent = parent.parentElement) {
            if (["auto", "scroll"].includes(getComputedStyle(parent).overflowX)) return true;
        }
        return false;
    };
    const wide = [...main.querySelectorAll("*")].filter((element) => {
        const { right, width: own } = element.getBoundingClientRect();
        return own && right > width + 1 && !inScroller(element) && getComputedStyle(element).overflowX === "visible";
    });
    const named = wide.slice(0, 3).map((element) => element.outerHTML.slice(0, 99));
    return [document.documentElement.scrollWidth - width, ...named];
"""

NARROWEST_LINE = """
    const paragraphs = [...document.querySelectorAll("article section > p")].filter((p) => p.innerText.length > 200);
    return Math.min(innerWidth, ...paragraphs.map((paragraph) => paragraph.getBoundingClientRect().width));
"""


@pytest.fixture(autouse=True)
def _restore_size(chromium):
    yield
    chromium._in_page("Emulation.clearDeviceMetricsOverride")
    chromium._in_page("Emulation.setEmulatedMedia", features=[])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("documentation"))


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_window(chromium, built, width):
    pages = sorted(
        path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md") if "_build" not in path.parts
    )
    assert pages
    found = {}
    for page in pages:
        show(chromium, built / page, width)
        if (problems := chromium.run(TOO_WIDE)) != [0]:
            found[str(page)] = problems
    assert found == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_paragraphs_have_room(chromium, built, width):
    for page in ("tutorial", "reference/settings", "how-to/troubleshooting"):
        show(chromium, built / f"{page}.html", width)
        assert chromium.run(NARROWEST_LINE) >= 0.45 * width
