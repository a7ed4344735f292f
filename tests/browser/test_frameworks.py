"""The elements inside Vue, Turbo and a shadow root, in a real browser."""

from __future__ import annotations

import pytest
from aiohttp import web

from tests.browser.frameworks import NODE_MODULES, TURBO, VUE
from tests.browser.gallery import Gallery
from tests.browser.waiting import wait_until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (TURBO.exists() and VUE.exists()), reason="npm install --prefix js has not been run"),
]

PUSH = """
export const states = { now: "off" };
export const push = {
  listeners: new Set(),
  preferencesGiven: null,
  on(name, listener) {
    if (name === "change") this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  },
  state: async () => states.now,
  async subscribe(preferences) { this.preferencesGiven = preferences; states.now = "on"; },
  async unsubscribe() { states.now = "off"; },
};
window.push = push;
"""

HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Framework</title><link rel="icon" href="data:,">'

VUE_PAGE = """<div id="app"></div><script type="module">
import { createApp, h, ref } from "/npm/vue/dist/vue.esm-browser.prod.js";
import "/static/webpush-kit-elements.js";
import { push } from "/push.js";

window.events = [];
createApp({
  setup() {
    const label = ref("Notifications");
    const count = ref(0);
    window.rename = (text) => { label.value = text; count.value += 1; };
    return () => h("section", [
      h("p", { id: "count" }, String(count.value)),
      h("webpush-toggle", {
        label: label.value, push, preferences: { categories: { news: true } },
        onWebpushChange: ({ detail }) => window.events.push(detail.state),
      }),
    ]);
  },
}).mount("#app");
</script>"""

VUE_TEMPLATE_PAGE = """<div id="app"></div><script type="module">
import { createApp, ref } from "/npm/vue/dist/vue.esm-browser.prod.js";
import "/static/webpush-kit-elements.js";
import { push } from "/push.js";

window.events = [];
createApp({
  compilerOptions: { isCustomElement: (tag) => tag.startsWith("webpush-") },
  template: `<p id="count">{{ count }}</p><webpush-toggle :label="label" :push="push" :preferences="preferences"
    @webpush-change="heard"></webpush-toggle>`,
  setup() {
    const [label, count] = [ref("Notifications"), ref(0)];
    window.rename = (text) => { label.value = text; count.value += 1; };
    const heard = ({ detail }) => window.events.push(detail.state);
    return { label, count, push, preferences: { categories: { news: true } }, heard };
  },
}).mount("#app");
</script>"""

SHADOW_PAGE = """<div id="host"></div><script type="module">
import "/static/webpush-kit-elements.js";
import { push } from "/push.js";

window.events = [];
const root = document.querySelector("#host").attachShadow({ mode: "open" });
const toggle = document.createElement("webpush-toggle");
Object.assign(toggle, { push, preferences: { categories: { news: true } } });
toggle.setAttribute("label", "Notifications");
root.append(toggle);
document.addEventListener("webpush-change", ({ detail }) => window.events.push(detail.state));
window.rename = (text) => toggle.setAttribute("label", text);
</script>"""

MORPH_PAGE = """<meta name="turbo-refresh-method" content="morph"><meta name="turbo-refresh-scroll" content="preserve">
<script type="module">
import * as Turbo from "/npm/@hotwired/turbo/dist/turbo.es2017-esm.js";
import "/static/webpush-kit-elements.js";
import { push } from "/push.js";

window.events ??= [];
window.push = push;
window.Turbo = Turbo;
document.addEventListener("webpush-change", ({ detail }) => window.events.push(detail.state));
document.querySelector("webpush-toggle").push = push;
</script>
<body><p id="number">NUMBER</p>
<webpush-toggle label="Notifications" preferences='{"categories": {"news": true}}'></webpush-toggle></body>"""


class Pages(Gallery):
    """The gallery's files, and a page for each framework. The last one has another text at each visit."""

    number = 0

    def application(self) -> web.Application:
        application = super().application()
        application.router.add_get("/push.js", self._push)
        application.router.add_get("/npm/{name:.+}", self._npm)
        application.router.add_get("/of/{name}", self._framework)
        return application

    async def _push(self, _request: web.Request) -> web.Response:
        return web.Response(text=PUSH, content_type="text/javascript")

    async def _npm(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(NODE_MODULES / request.match_info["name"], headers={"Content-Type": "text/javascript"})

    async def _framework(self, request: web.Request) -> web.Response:
        self.number += 1
        page = PAGES[request.match_info["name"]].replace("NUMBER", str(self.number))
        return web.Response(text=HEAD + page, content_type="text/html")


PAGES = {"vue": VUE_PAGE, "vue-template": VUE_TEMPLATE_PAGE, "shadow": SHADOW_PAGE, "morph": MORPH_PAGE}

TOGGLE = (
    "const toggle = document.querySelector('webpush-toggle') ??"
    " document.querySelector('#host').shadowRoot.querySelector('webpush-toggle');"
)
SEEN = f"""{TOGGLE} return {{
    state: toggle?.getAttribute("state"),
    push: toggle?.getAttribute("push"),
    preferences: toggle?.getAttribute("preferences"),
    label: toggle?.querySelector("button")?.textContent,
    status: toggle?.querySelector("[role=status]")?.textContent,
    checked: toggle?.querySelector("button")?.getAttribute("aria-checked"),
    height: toggle?.querySelector("button")?.getBoundingClientRect().height,
}};"""
PRESS = f"{TOGGLE} toggle.querySelector('button').click()"
GIVEN = {"categories": {"news": True}}


@pytest.fixture(scope="module")
def pages():
    with Pages() as running:
        yield running


@pytest.mark.parametrize("name", ["vue", "vue-template", "shadow"])
def test_properties_are_kept_events_arrive_and_it_survives_another_rendering(browser, pages, name):
    browser.open(f"{pages.origin}/of/{name}")
    wait_until(lambda: browser.run("return window.events?.at(-1) ?? ''") == "off", "the element")
    seen = browser.run(SEEN)
    assert (seen["push"], seen["preferences"], seen["label"]) == (None, None, "Notifications")
    assert seen["height"] > 20
    browser.run(PRESS)
    wait_until(lambda: browser.run("return window.events.at(-1)") == "on", "the event outside")
    assert browser.run("return window.push.preferencesGiven") == GIVEN
    browser.run("rename('Other words')")
    wait_until(lambda: browser.run(SEEN)["label"] == "Other words", "the new label")
    seen = browser.run(SEEN)
    assert (seen["state"], seen["status"], seen["checked"]) == ("on", "On", "true")
    browser.run(PRESS)
    wait_until(lambda: browser.run("return window.events.at(-1)") == "off", "the switch to work still")


def test_a_morph_by_turbo_leaves_the_switch_as_it_is(browser, pages):
    browser.open(f"{pages.origin}/of/morph")
    wait_until(lambda: browser.run("return window.events?.at(-1) ?? ''") == "off", "the element")
    browser.run(PRESS)
    wait_until(lambda: browser.run("return window.events.at(-1)") == "on", "the event")
    number = browser.run("return document.querySelector('#number').textContent")
    browser.run("Turbo.session.refresh(location.href)")
    current = "return document.querySelector('#number').textContent"
    wait_until(lambda: browser.run(current) not in ("", number), "the morphed page")
    wait_until(lambda: browser.run(SEEN)["state"] == "on", "the attribute again")
    seen = browser.run(SEEN)
    assert (seen["label"], seen["status"], seen["checked"]) == ("Notifications", "On", "true")
    browser.run(PRESS)
    wait_until(lambda: browser.run("return window.events.at(-1)") == "off", "the switch to work still")
    assert browser.run("return document.querySelectorAll('webpush-toggle button').length") == 1


@pytest.mark.parametrize("element", ["preferences", "prompt"])
def test_other_elements_work_in_a_shadow_root_of_the_page(browser, pages, element):
    browser.open(f"{pages.origin}/of/shadow")
    wait_until(lambda: browser.run("return window.events?.at(-1) ?? ''") == "off", "the element")
    browser.run(
        """
        const made = Object.assign(document.createElement(`webpush-${arguments[0]}`), { push: window.push });
        document.querySelector("#host").shadowRoot.append(made);
        window.made = made;
        window.shown = [];
        document.addEventListener("webpush-shown", ({ detail }) => window.shown.push(detail.step));
        """,
        element,
    )
    wait_until(lambda: browser.run("return window.made.state") == "off", "the element in the shadow root")
    if element == "prompt":
        assert browser.run("return await window.made.show()") == "ask"
        assert browser.run("return window.shown") == ["ask"]
    height = "return window.made.shadowRoot.querySelector('.panel').getBoundingClientRect().height"
    assert browser.run(height) > 40
