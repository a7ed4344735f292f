/**
 * `<webpush-toggle>`: a switch for push notifications.
 *
 *   <script type="module" src=".../webpush-kit-elements.js"></script>
 *   <webpush-toggle label="Notifications"></webpush-toggle>
 *
 * For style sheets the attribute `state` holds a PushState or "busy", and `error` the code of what went wrong at the
 * last click. A `<button>` put inside is used as it is. There is no style or script inside the page, so a strict CSP
 * needs no exception. Texts: the attributes `label`, `text-<state>` and `text-<code>` ("_" written as "-").
 *
 * Properties: `preferences` for a new subscription (also an attribute, as JSON), `push`, a manager other than the
 * page's first. Events bubble and leave shadow roots: "webpush-change" (detail `{state}`), "webpush-error" (detail
 * `{error}`, a PushError).
 */
/// <reference path="./webpush-kit-dom.d.ts" preserve="true" />

/** @import { Preferences, PushError, PushNotificationManager, PushState } from "./webpush-kit.js" */

/** @typedef {Pick<typeof import("./webpush-kit.js"), "defaultPush" | "PUSH_ERRORS" | "PushError">} Kit */

/** @type {Record<PushState, string>} the codes whose messages say what prevents notifications */
const STATE_CODES = {
  unsupported: "unsupported",
  insecure: "insecure",
  framed: "framed",
  "needs-install": "needs_install",
  "storage-blocked": "storage_blocked",
  denied: "denied",
  conflict: "service_worker_conflict",
  off: "off",
  on: "on",
};

/** @type {Record<string, string>} */
const TEXTS = {
  off: "Off",
  on: "On",
  busy: "One moment…",
  not_authenticated: "Sign in to receive notifications.",
  not_configured: "This site cannot send notifications yet.",
};

const SWITCHABLE = ["off", "on"];

/** @type {Kit | undefined} the module `webpush-kit.js`, once it is loaded */
let kit;

/**
 * Loads the module `webpush-kit.js`. A page names its URL in `<meta name="webpush-kit-module">`, for storages of hashed
 * static files change its name; without the meta element it is the file beside this one, also for bundlers.
 * @returns {Promise<Kit>}
 */
async function loadKit() {
  const tag = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="webpush-kit-module"]'));
  const url = tag?.content && new URL(tag.content, document.baseURI).href;
  return url ? import(/* @vite-ignore */ /* webpackIgnore: true */ url) : import("./webpush-kit.js");
}

/** On a server there are no elements: importing this file must not fail there. */
const BaseElement = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (/** @type {unknown} */ (class {}));

export class WebPushToggle extends BaseElement {
  static get observedAttributes() {
    return ["label", "state", "preferences", "text-busy", ...Object.keys(STATE_CODES).map((state) => `text-${state}`)];
  }

  /** @type {HTMLButtonElement | null} */
  #button = null;
  /** @type {HTMLButtonElement | null} the one that was made here */
  #ownButton = null;
  /** @type {Element | null} */
  #status = null;
  /** @type {PushNotificationManager | null} */
  #push = null;
  /** @type {Preferences | null} */
  #preferences = null;
  /** @type {PushState | "busy"} */
  #state = "busy";
  /** @type {PushError | null} */
  #error = null;
  #isConnected = false;
  #isFollowing = false;
  /** @type {(() => void)[]} */
  #stop = [];

  connectedCallback() {
    this.#isConnected = true;
    // frameworks may have set these before the element was defined
    for (const name of /** @type {const} */ (["push", "preferences"])) {
      const value = Object.getOwnPropertyDescriptor(this, name)?.value;
      if (value === undefined) continue;
      delete (/** @type {any} */ (this)[name]);
      /** @type {any} */ (this)[name] = value;
    }
    this.#build();
    if (globalThis.MutationObserver) {
      // a framework or a morphing page may take away what is inside
      const observer = new MutationObserver(() => this.#build());
      observer.observe(this, { childList: true, subtree: true });
      this.#stop.push(() => observer.disconnect());
    }
    this.#attach();
  }

  disconnectedCallback() {
    this.#isConnected = false;
    this.#detach();
    this.#button?.removeEventListener("click", this.#onClick);
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} value
   */
  attributeChangedCallback(name, before, value) {
    if (!this.#isConnected || before === value) return;
    if (name === "state" && value === this.#state) return;
    this.#render();
  }

  /** What the attribute `state` says. */
  get state() {
    return this.#state;
  }

  /** The manager in use: the page's first unless another one is set. */
  get push() {
    return this.#push;
  }

  set push(manager) {
    this.#push = typeof manager === "object" ? manager : null;
    if (!this.#isConnected) return;
    this.#detach();
    this.#attach();
  }

  /** Preferences for a new subscription. */
  get preferences() {
    return this.#preferences ?? parse(this.getAttribute("preferences")) ?? {};
  }

  set preferences(preferences) {
    this.#preferences = typeof preferences === "string" ? parse(preferences) : preferences;
  }

  async #attach() {
    this.#setState("busy");
    try {
      kit ??= await loadKit();
    } catch (cause) {
      const error = new Error("The server cannot be reached. Check your connection.", { cause });
      this.#setError(Object.assign(error, { name: "PushError", code: "network_error", status: 0, errors: {} }));
      this.#setState("off");
      return;
    }
    if (this.#isConnected && !this.#isFollowing) this.#follow(kit);
  }

  /** @param {Kit} module */
  #follow(module) {
    const push = (this.#push ??= module.defaultPush());
    this.#isFollowing = true;
    this.#stop.push(
      push.on("change", (state) => this.#setState(state)),
      push.on("error", (error) => this.#tell("webpush-error", { error })),
      () => (this.#isFollowing = false),
    );
    this.#refresh(push);
  }

  #detach() {
    for (const stop of this.#stop.splice(0)) stop();
  }

  /** Make or find the button and the status; does nothing while they are in place. */
  #build() {
    const button = this.querySelector("button") ?? (this.#ownButton ??= document.createElement("button"));
    if (button !== this.#button) {
      this.#button?.removeEventListener("click", this.#onClick);
      this.#button = button;
    }
    button.addEventListener("click", this.#onClick);
    button.type = "button";
    if (!button.isConnected) this.append(button);
    this.#status = this.querySelector("[role=status]") ?? this.#status ?? document.createElement("span");
    if (!this.#status.isConnected) this.append(this.#status);
    this.#render();
  }

  /** The button stays focusable when it can do nothing, so that the reason beside it is found. */
  #render() {
    const [button, status, state] = [this.#button, this.#status, this.#state];
    if (!button || !status) return;
    setAttributes(this, { state, error: this.#error?.code ?? null });
    setAttributes(button, {
      role: "switch",
      "aria-checked": String(state === "on"),
      "aria-busy": String(state === "busy"),
      "aria-disabled": String(!SWITCHABLE.includes(state)),
    });
    setAttributes(status, { role: "status" });
    if (button === this.#ownButton) setText(button, this.getAttribute("label") ?? "Notifications");
    setText(status, this.#text());
  }

  #text() {
    const [error, state] = [this.#error, this.#state];
    if (error)
      return this.getAttribute(`text-${error.code.replaceAll("_", "-")}`) ?? TEXTS[error.code] ?? error.message;
    const code = state === "busy" ? state : STATE_CODES[state];
    /** @type {Record<string, string>} */
    const messages = kit?.PUSH_ERRORS ?? {};
    return this.getAttribute(`text-${state}`) ?? TEXTS[code] ?? messages[code];
  }

  /** @param {PushState | "busy"} state */
  #setState(state) {
    const isChange = state !== this.#state;
    this.#state = state;
    this.#render();
    if (isChange && state !== "busy") this.#tell("webpush-change", { state });
  }

  /** @param {PushNotificationManager} push */
  async #refresh(push) {
    try {
      this.#setState(await push.state());
    } catch (error) {
      this.#setError(error);
      this.#setState("off");
    }
  }

  #onClick = async () => {
    const before = this.#state;
    const push = this.#push;
    if (!SWITCHABLE.includes(before)) return;
    this.#error = null;
    if (!push) return this.#attach(); // the module could not be loaded: try again
    this.#setState("busy");
    try {
      await (before === "on" ? push.unsubscribe() : push.subscribe(this.preferences));
    } catch (error) {
      this.#setError(error);
    }
    await this.#refresh(push);
  };

  /** @param {any} cause */
  #setError(cause) {
    // by name, for the error may come from another copy of the module
    const module = cause?.name === "PushError" ? null : kit;
    const error = module ? new module.PushError("failed", cause?.message, { cause }) : cause;
    this.#error = error;
    this.#tell("webpush-error", { error });
  }

  /**
   * @param {string} name
   * @param {Record<string, unknown>} detail
   */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail }));
  }
}

/**
 * @param {string | null} text JSON
 * @returns {Preferences | null} null for anything but an object
 */
function parse(text) {
  try {
    const value = JSON.parse(text ?? "null");
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/**
 * Only what differs: each change wakes observers, the page's and ours.
 * @param {Element} element
 * @param {Record<string, string | null>} attributes null removes one
 */
function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) === value) continue;
    if (value === null) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
}

/**
 * @param {Element} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

if (globalThis.customElements && !customElements.get("webpush-toggle")) {
  customElements.define("webpush-toggle", WebPushToggle);
}
