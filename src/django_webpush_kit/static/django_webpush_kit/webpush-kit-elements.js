/**
 * `<webpush-toggle>`: a switch for push notifications.
 *
 *   <script type="module" src=".../webpush-kit-elements.js"></script>
 *   <webpush-toggle label="Notifications"></webpush-toggle>
 *
 * Its state is in the attribute `state` ("unsupported", "needs-install", "denied", "off", "on", "busy"), for style
 * sheets. It has no style or script of its own inside the page, so a strict CSP needs no exception. A `<button>` put
 * inside it is used as it is. Texts: the attributes `label` and `text-<state>`. Preferences for a new subscription: the
 * property `preferences`. Another manager than the page's first: the property `push`, set before the element is attached.
 *
 * Events, which bubble: "webpush-change" (detail `{state}`), "webpush-error" (detail `{error}`, a PushError).
 */
import { defaultPush } from "./webpush-kit.js";

const TEXTS = {
  unsupported: "This browser cannot receive notifications.",
  "needs-install": "Add this site to your home screen first.",
  denied: "Blocked in the browser's settings.",
  off: "Off",
  on: "On",
  busy: "One moment…",
};
const SWITCHABLE = ["off", "on"];

export class WebPushToggle extends HTMLElement {
  #button = null;
  #status = null;
  #state = "busy";
  #stop = () => {};

  connectedCallback() {
    this.push ??= defaultPush();
    this.preferences ??= {};
    this.#build();
    this.#stop = this.push.on("change", (state) => this.#render(state));
    this.#render("busy");
    this.#refresh();
  }

  disconnectedCallback() {
    this.#stop();
    this.#button.removeEventListener("click", this.#onClick);
  }

  /** What the attribute `state` says. */
  get state() {
    return this.#state;
  }

  #build() {
    this.#button = this.querySelector("button") ?? document.createElement("button");
    if (!this.#button.isConnected) {
      this.#button.textContent = this.getAttribute("label") ?? "Notifications";
      this.append(this.#button);
    }
    this.#button.type = "button";
    this.#button.setAttribute("role", "switch");
    this.#button.addEventListener("click", this.#onClick);
    this.#status = this.querySelector("[role=status]") ?? document.createElement("span");
    if (!this.#status.isConnected) {
      this.#status.setAttribute("role", "status");
      this.append(this.#status);
    }
  }

  /** The button stays focusable when it can do nothing, so that the reason beside it is found. */
  #render(state) {
    const changed = state !== this.#state;
    this.#state = state;
    this.setAttribute("state", state);
    this.#button.setAttribute("aria-checked", String(state === "on"));
    this.#button.setAttribute("aria-busy", String(state === "busy"));
    this.#button.setAttribute("aria-disabled", String(!SWITCHABLE.includes(state)));
    this.#status.textContent = this.getAttribute(`text-${state}`) ?? TEXTS[state];
    if (changed && state !== "busy") this.#tell("webpush-change", { state });
  }

  async #refresh() {
    try {
      this.#render(await this.push.state());
    } catch (error) {
      this.#tell("webpush-error", { error });
      this.#render("off");
    }
  }

  #onClick = async () => {
    const before = this.#state;
    if (!SWITCHABLE.includes(before)) return;
    this.#render("busy");
    try {
      await (before === "on" ? this.push.unsubscribe() : this.push.subscribe(this.preferences));
    } catch (error) {
      this.#tell("webpush-error", { error });
    }
    await this.#refresh();
  };

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }
}

if (!customElements.get("webpush-toggle")) customElements.define("webpush-toggle", WebPushToggle);
