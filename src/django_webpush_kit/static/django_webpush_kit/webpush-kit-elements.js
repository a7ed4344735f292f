/**
 * The elements `<webpush-toggle>`, `<webpush-preferences>` and `<webpush-prompt>`.
 *
 *   <script type="module" src=".../webpush-kit-elements.js"></script>
 *   <webpush-toggle label="Notifications"></webpush-toggle>
 *
 * For style sheets the attribute `state` holds a PushState or "busy", and `error` the code of what went wrong last.
 * There is no style or script inside the page, so a strict CSP needs no exception. Texts: the attributes `text-<name>`
 * ("_" written as "-"), else those of `defineTexts()`, else the ones that come with this package.
 *
 * Properties: `preferences` for a new subscription (also an attribute, as JSON), `push`, a manager other than the
 * page's first. Events bubble and leave shadow roots; "webpush-change" (detail `{state}`) and "webpush-error" (detail
 * `{error}`, a PushError) come from every element.
 */
/// <reference path="./webpush-kit-dom.d.ts" preserve="true" />

/** @import { Preferences, PushConfig, PushError, PushNotificationManager, PushState } from "./webpush-kit.js" */

/** @typedef {Pick<typeof import("./webpush-kit.js"), "defaultPush" | "PUSH_ERRORS" | "PushError">} Kit */

/** @typedef {Record<string, string>} Texts by name; `{date}` stands for a date */

/** @typedef {{id: number | string, browser: string, created_at: string, is_current: boolean}} KnownBrowser */

/** @typedef {{config: PushConfig, stored: Preferences, others: KnownBrowser[]}} Known what the server knows */

/** @typedef {"ask" | "blocked" | "ios" | "done" | "install"} PromptStep */

/** @type {Record<PushState, string>} the names of the texts that say what prevents notifications */
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

/** @type {Texts} what the switch says when the texts cannot be loaded */
const TEXTS = {
  off: "Off",
  on: "On",
  busy: "One moment…",
  not_authenticated: "Sign in to receive notifications.",
  not_configured: "This site cannot send notifications yet.",
  network_error: "The server cannot be reached. Check your connection.",
  label: "Notifications",
};

/** Languages that come with the package; bundlers find the files by these lines. */
const SHIPPED = {
  ar: () => import("./webpush-kit-texts-ar.js"),
  de: () => import("./webpush-kit-texts-de.js"),
  en: () => import("./webpush-kit-texts-en.js"),
  es: () => import("./webpush-kit-texts-es.js"),
  fr: () => import("./webpush-kit-texts-fr.js"),
  ja: () => import("./webpush-kit-texts-ja.js"),
  pt: () => import("./webpush-kit-texts-pt-br.js"),
};

/**
 * Whether a site of this name is opened by its developer: an address, or a name without a public domain.
 *
 * @param {string} hostname
 */
const isLocalName = (hostname) => /^[\d.]+$|^\[|^[^.]+$|\.(?:local|lan|test|internal)$/.test(hostname);

/** What shares a language's first part and is written from right to left. */
const RIGHT_TO_LEFT = ["ar", "fa", "he", "ur"];

const SWITCHABLE = ["off", "on"];
const DAY_MS = 24 * 60 * 60 * 1000;
const PROMPT_KEY = "webpush-kit-prompt"; // in localStorage: "not now" until then; in sessionStorage: shown

/** @type {Kit | undefined} the module `webpush-kit.js`, once it is loaded */
let kit;

/** @type {Record<string, Texts>} by language, of defineTexts() */
const ownTexts = {};

/** @type {Record<string, Promise<Texts>>} by language */
const loadedTexts = {};

/** @type {Set<Link>} those of the elements in the page */
const links = new Set();

/** @type {any} Chromium's offer to install this site */
let installOffer = null;

/**
 * Add texts in a language, or change some of those that come with the package: `defineTexts("nl", { on: "Aan" })`.
 * @param {string} language such as "nl" or "pt-br"
 * @param {Texts} texts
 */
export function defineTexts(language, texts) {
  const name = language.toLowerCase();
  ownTexts[name] = { ...ownTexts[name], ...texts };
  for (const link of links) link.translate();
}

/**
 * The content of one of our meta elements, as a URL; undefined where the head has no such tag.
 * @param {string} name
 */
function metaUrl(name) {
  const tag = /** @type {HTMLMetaElement | null} */ (document.querySelector(`meta[name="webpush-kit-${name}"]`));
  return tag?.content && new URL(tag.content, document.baseURI).href;
}

/**
 * Loads the module `webpush-kit.js`. A page names its URL in `<meta name="webpush-kit-module">`, for storages of hashed
 * static files change its name; without the meta element it is the file beside this one, also for bundlers.
 * @returns {Promise<Kit>}
 */
async function loadKit() {
  const url = metaUrl("module");
  return url ? import(/* @vite-ignore */ /* webpackIgnore: true */ url) : import("./webpush-kit.js");
}

/**
 * Likewise the texts: of the page's language, which `<meta name="webpush-kit-texts">` names, else of this language.
 * @param {string} language
 * @returns {Promise<Texts>}
 */
async function loadTexts(language) {
  const url = metaUrl("texts");
  const shipped = /** @type {Record<string, () => Promise<{default: Texts}>>} */ (SHIPPED);
  const load = shipped[language.split("-")[0]] ?? shipped.en;
  return (await (url ? import(/* @vite-ignore */ /* webpackIgnore: true */ url) : load())).default;
}

/** On a server there are no elements: importing this file must not fail there. */
const BaseElement = globalThis.HTMLElement ?? /** @type {typeof HTMLElement} */ (/** @type {unknown} */ (class {}));

/** What the elements have in common: the manager that one follows, its state and texts. */
class Link {
  /** @type {PushNotificationManager | null} */
  push = null;
  /** @type {Preferences | null} */
  preferences = null;
  /** @type {PushState | "busy"} */
  state = "busy";
  /** @type {PushError | null} */
  error = null;
  language = "en";
  isConnected = false;
  /** @type {Promise<void>} until the manager is there */
  ready = Promise.resolve();
  #isFollowing = false;
  /** @type {Texts} */
  #texts = {};
  /** @type {(() => void)[]} */
  #stop = [];

  /**
   * @param {HTMLElement} element
   * @param {() => void} render
   */
  constructor(element, render) {
    this.element = element;
    this.render = render;
  }

  connect() {
    this.isConnected = true;
    links.add(this);
    // frameworks may have set these before the element was defined
    for (const name of /** @type {const} */ (["push", "preferences"])) {
      const value = Object.getOwnPropertyDescriptor(this.element, name)?.value;
      if (value === undefined) continue;
      delete (/** @type {any} */ (this.element)[name]);
      /** @type {any} */ (this.element)[name] = value;
    }
    this.attach();
  }

  disconnect() {
    this.isConnected = false;
    links.delete(this);
    this.detach();
  }

  attach() {
    this.ready = this.#attach();
  }

  async #attach() {
    this.setState("busy");
    const { lang } = /** @type {HTMLElement} */ (this.element.closest?.("[lang]") ?? document.documentElement);
    this.language = (lang || globalThis.navigator?.language || "en").toLowerCase();
    const { language } = this;
    try {
      const texts = (loadedTexts[language] ??= loadTexts(language).catch(() => ({})));
      kit ??= await loadKit();
      await texts;
    } catch (cause) {
      const error = Object.assign(new Error("", { cause }), { name: "PushError", code: "network_error" });
      this.setError(error);
    }
    await this.translate();
    if (this.error) this.setState("off");
    else if (this.isConnected && !this.#isFollowing) this.#follow();
  }

  #follow() {
    const push = (this.push ??= /** @type {Kit} */ (kit).defaultPush());
    this.#isFollowing = true;
    this.keep(
      push.on("change", (state) => this.setState(state)),
      push.on("error", (error) => this.tell("webpush-error", { error })),
      () => (this.#isFollowing = false),
    );
    this.refresh(push);
  }

  /** @param {(() => void)[]} stop what ends with the connection */
  keep(...stop) {
    this.#stop.push(...stop);
  }

  detach() {
    for (const stop of this.#stop.splice(0)) stop();
  }

  /** @param {any} manager */
  setPush(manager) {
    this.push = typeof manager === "object" ? manager : null;
    if (!this.isConnected) return;
    this.detach();
    this.attach();
  }

  async translate() {
    const { language } = this;
    const [base] = language.split("-");
    const loaded = await loadedTexts[language];
    this.#texts = { ...kit?.PUSH_ERRORS, ...TEXTS, ...loaded, ...ownTexts[base], ...ownTexts[language] };
    this.render();
  }

  /**
   * @param {string} name
   * @param {string} [otherwise]
   */
  text(name, otherwise = "") {
    return this.element.getAttribute(`text-${name.replaceAll("_", "-")}`) ?? this.#texts[name] ?? otherwise;
  }

  /** What is to be said of the state, or of what went wrong. */
  stateText() {
    const { error, state } = this;
    if (error) return this.text(error.code, error.message);
    const own = this.element.getAttribute(`text-${state}`);
    if (own !== null) return own;
    const name = state === "busy" ? state : STATE_CODES[state];
    return (name === "insecure" && isLocalName(location.hostname) && this.text("insecure_local")) || this.text(name);
  }

  /** Whether Arabic and the like is shown, where the page does not say so. */
  get dir() {
    return RIGHT_TO_LEFT.includes(this.language.split("-")[0]) ? "rtl" : null;
  }

  /** @param {PushState | "busy"} state */
  setState(state) {
    const isChange = state !== this.state;
    this.state = state;
    this.render();
    if (isChange && state !== "busy") this.tell("webpush-change", { state });
  }

  /** @param {PushNotificationManager} push */
  async refresh(push) {
    try {
      this.setState(await push.state());
    } catch (error) {
      this.setError(error);
      this.setState("off");
    }
  }

  /**
   * Subscribe or unsubscribe, at a click. Nothing is awaited before the call: the click's permission to ask would be spent.
   * @param {Preferences} preferences
   * @returns {Promise<boolean>} whether it worked
   */
  async switch(preferences) {
    const { state, push } = this;
    if (!SWITCHABLE.includes(state)) return false;
    this.error = null;
    if (!push) {
      this.attach(); // the module could not be loaded: try again
      return false;
    }
    this.setState("busy");
    try {
      await (state === "on" ? push.unsubscribe() : push.subscribe(preferences));
    } catch (error) {
      this.setError(error);
    }
    await this.refresh(push);
    return !this.error;
  }

  /** @param {any} cause */
  setError(cause) {
    // by name, for the error may come from another copy of the module
    const module = cause?.name === "PushError" ? null : kit;
    const error = module ? new module.PushError("failed", cause?.message, { cause }) : cause;
    this.error = error;
    this.tell("webpush-error", { error });
  }

  /**
   * @param {string} name
   * @param {Record<string, unknown>} detail
   */
  tell(name, detail) {
    this.element.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail }));
  }

  /** Only what differs: each change wakes observers, the page's and ours. */
  reflect() {
    setAttributes(this.element, { state: this.state, error: this.error?.code ?? null });
  }
}

/** What all three are: an element with a manager, and preferences for a new subscription. */
class PushElement extends BaseElement {
  /** @type {Link} */
  #link = new Link(this, () => this.render());

  /** @protected */
  get link() {
    return this.#link;
  }

  connectedCallback() {
    this.#link.connect();
  }

  disconnectedCallback() {
    this.#link.disconnect();
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} value
   */
  attributeChangedCallback(name, before, value) {
    if (!this.#link.isConnected || before === value) return;
    if (name === "state" && value === this.#link.state) return;
    this.render();
  }

  /** @protected */
  render() {
    this.#link.reflect();
  }

  /** What the attribute `state` says. */
  get state() {
    return this.#link.state;
  }

  /** The manager in use: the page's first unless another one is set. */
  get push() {
    return this.#link.push;
  }

  set push(manager) {
    this.#link.setPush(manager);
  }

  /** Preferences for a new subscription. */
  get preferences() {
    return this.#link.preferences ?? parse(this.getAttribute("preferences")) ?? {};
  }

  set preferences(preferences) {
    this.#link.preferences = typeof preferences === "string" ? parse(preferences) : preferences;
  }
}

/** A switch for notifications in this browser. A `<button>` and a `[role=status]` inside are used as they are. */
export class WebPushToggle extends PushElement {
  static get observedAttributes() {
    return ["label", "state", "preferences", "text-busy", ...Object.keys(STATE_CODES).map((state) => `text-${state}`)];
  }

  /** @type {HTMLButtonElement | null} */
  #button = null;
  /** @type {HTMLButtonElement | null} the one that was made here */
  #ownButton = null;
  /** @type {Element | null} */
  #status = null;
  /** @type {MutationObserver | null} */
  #observer = null;

  connectedCallback() {
    adopt(this.getRootNode?.(), TOGGLE_STYLE);
    this.#build();
    if (globalThis.MutationObserver) {
      // a framework or a morphing page may take away what is inside
      this.#observer = new MutationObserver(() => this.#build());
      this.#observer.observe(this, { childList: true, subtree: true });
    }
    super.connectedCallback();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#observer?.disconnect();
    this.#button?.removeEventListener("click", this.#onClick);
  }

  /** Make or find the button and the status; does nothing while they are in place. */
  #build() {
    const button = this.querySelector("button") ?? (this.#ownButton ??= document.createElement("button"));
    if (button !== this.#button) {
      this.#button?.removeEventListener("click", this.#onClick);
      this.#button = button;
    }
    // a copy of the page, such as Turbo's, has the one that was made in the original
    if (button.hasAttribute("data-webpush-switch")) this.#ownButton = button;
    button.addEventListener("click", this.#onClick);
    button.type = "button";
    if (!button.isConnected) this.append(button);
    this.#status = this.querySelector("[role=status]") ?? this.#status ?? document.createElement("span");
    if (!this.#status.isConnected) this.append(this.#status);
    this.render();
  }

  /** @protected The button stays focusable when it can do nothing, so that the reason beside it is found. */
  render() {
    const [button, status, { state }] = [this.#button, this.#status, this.link];
    if (!button || !status) return;
    super.render();
    setAttributes(button, switchAttributes(state));
    setAttributes(status, { role: "status" });
    if (button === this.#ownButton) {
      setAttributes(button, { "data-webpush-switch": "" });
      setText(button, this.getAttribute("label") ?? this.link.text("label"));
    }
    setText(status, this.link.stateText());
  }

  #onClick = () => this.link.switch(this.preferences);
}

/** A preference centre: this browser, notification types, quiet hours, a test, and the user's other browsers. */
export class WebPushPreferences extends PushElement {
  static get observedAttributes() {
    return ["state", "lang", "theme"];
  }

  #root = attachRoot(this);
  #content = h("div", { part: "panel", class: "panel" });
  #message = h("p", { part: "message", class: "message", role: "status" });
  /** @type {Record<string, string>} the last message: what was done, or what went wrong */
  #said = {};
  /** @type {Known | null} */
  #data = null;
  /** @type {PushState | "busy" | null} the one that the data are of */
  #known = null;
  #turn = Promise.resolve();

  connectedCallback() {
    adopt(this.#root, STYLE);
    this.#root?.append(this.#content, this.#message);
    super.connectedCallback();
  }

  /** @protected */
  render() {
    super.render();
    const { link } = this;
    const { state } = link;
    if (state !== this.#known && state !== "busy") {
      this.#known = state;
      this.#load();
    }
    refill(this.#root, this.#content, [
      h(
        "div",
        { class: "row" },
        h("span", { class: "grow" }, [
          h("span", { part: "label", id: "label" }, link.text("this_browser")),
          h("span", { part: "description", class: "muted", id: "state", role: "status" }, link.stateText()),
        ]),
        h("button", {
          part: "switch",
          class: "switch",
          id: "switch",
          type: "button",
          "aria-labelledby": "label",
          "aria-describedby": "state",
          ...switchAttributes(state),
          onclick: () => this.#switch(),
        }),
      ),
      state === "denied" && h("p", { part: "text" }, link.text(`unblock_${browserKind()}`)),
      state === "needs-install" && installSteps(link),
      state === "on" && this.#data && [this.#types(), this.#quietHours(), this.#test()],
      this.#data
        ? this.#others()
        : this.#said.error && button(link.text("retry"), { id: "retry", onclick: () => this.#load() }),
    ]);
    setAttributes(this.#content, { lang: link.language, dir: link.dir });
    setAttributes(this.#message, { class: this.#said.error ? "message error" : "message", dir: link.dir });
    setText(this.#message, this.#said.text ?? "");
  }

  /** What the server knows; without it the switch is all there is. */
  async #load() {
    const { push } = this;
    if (!push) return;
    const [state, here] = [this.#known, await push.subscription().catch(() => null)];
    try {
      const query = here ? `?endpoint=${encodeURIComponent(here.endpoint)}` : "";
      const [config, stored, list] = await Promise.all([
        push.config(),
        state === "on" ? push.preferences() : {},
        push.api.makeRequest(`subscriptions${query}`),
      ]);
      if (state !== this.#known) return;
      const known = /** @type {KnownBrowser[]} */ (list.data.subscriptions ?? []);
      this.#data = { config, stored, others: known.filter((browser) => !browser.is_current) };
      this.#say({});
    } catch (error) {
      this.#data = null;
      this.#fail(error);
    }
  }

  async #switch() {
    this.#say({});
    this.#known = null; // what the server knows changes with it
    await this.link.switch(this.preferences);
  }

  #types() {
    const { config, stored } = /** @type {Known} */ (this.#data);
    const types = Object.entries(config.types);
    if (!types.length) return null;
    return group(
      this.link.text("types"),
      types.map(([name, { label, description, default: isDefault }], index) =>
        checkbox(`type-${index}`, [label, description], stored.categories?.[name] ?? isDefault, (isWanted) =>
          this.#save((before) => ({ ...before, categories: { ...before.categories, [name]: isWanted } })),
        ),
      ),
    );
  }

  #quietHours() {
    const { link } = this;
    const { enabled = false, ...given } = this.#data?.stored.quiet_hours ?? {};
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const hours = { start: "22:00", end: "07:00", timezone: here, ...given };
    const zones = new Set([hours.timezone, here, ...(Intl.supportedValuesOf?.("timeZone") ?? [])]);
    const change = (/** @type {any} */ quiet) => {
      const next = { ...hours, enabled, ...quiet };
      if (!next.start || !next.end || next.start === next.end) this.#say({ text: link.text("times"), error: "times" });
      else this.#save((before) => ({ ...before, quiet_hours: next }));
    };
    const field = (/** @type {string} */ name, /** @type {string} */ label, /** @type {HTMLElement} */ input) =>
      h("label", { class: "field", for: name }, h("span", { part: "label" }, link.text(label)), input);
    const time = (/** @type {"start" | "end"} */ name) =>
      h("input", {
        part: "input",
        id: name,
        type: "time",
        required: true,
        value: hours[name],
        onchange: (/** @type {any} */ { target }) => change({ [name]: target.value }),
      });
    return group(link.text("quiet_hours"), [
      checkbox("quiet", [link.text("quiet")], enabled, (isWanted) => change({ enabled: isWanted })),
      enabled &&
        h("div", { class: "fields" }, [
          field("start", "from", time("start")),
          field("end", "to", time("end")),
          field(
            "zone",
            "timezone",
            h(
              "select",
              {
                part: "input",
                id: "zone",
                onchange: (/** @type {any} */ { target }) => change({ timezone: target.value }),
              },
              [...zones].map((zone) => h("option", { value: zone, selected: zone === hours.timezone }, zone)),
            ),
          ),
        ]),
    ]);
  }

  #test() {
    return button(this.link.text("test"), { id: "test", onclick: () => this.#sendTest() });
  }

  async #sendTest() {
    try {
      await this.push?.sendTestNotification();
      this.#say({ text: this.link.text("test_sent") });
    } catch (error) {
      this.#fail(error);
    }
  }

  #others() {
    const { link } = this;
    const { others } = /** @type {Known} */ (this.#data);
    if (!others.length) return null;
    return group(
      link.text("others"),
      h(
        "ul",
        { part: "list", role: "list" },
        others.map(({ id, browser, created_at }, index) => {
          const since = link.text("since").replace("{date}", formatDate(created_at, link.language));
          return h("li", { part: "item", class: "row" }, [
            h("span", { class: "grow", id: `browser-${index}` }, [
              h("span", { part: "label" }, browser || link.text("unknown")),
              " ",
              h("span", { part: "description", class: "muted" }, since),
            ]),
            button(link.text("remove"), {
              id: `remove-${index}`,
              "aria-labelledby": `remove-${index} browser-${index}`,
              onclick: () => this.#remove(id),
            }),
          ]);
        }),
      ),
    );
  }

  /** @param {number | string} id */
  async #remove(id) {
    const { push } = this;
    if (!push) return;
    const answer = await push.api.makeRequest(`subscriptions?id=${encodeURIComponent(id)}`, { method: "DELETE" });
    if (!answer.success && answer.status !== 404) return this.#fail(answer);
    if (this.#data) this.#data.others = this.#data.others.filter((other) => other.id !== id);
    this.#say({ text: this.link.text("removed") });
    this.link.tell("webpush-removed", { id });
  }

  /**
   * One after another; a change that fails is taken back.
   * @param {(stored: Preferences) => Preferences} change
   */
  #save(change) {
    const [data, push] = [this.#data, this.push];
    if (!data || !push) return;
    const wanted = (data.stored = change(data.stored));
    this.#say({});
    this.#turn = this.#turn.then(async () => {
      try {
        const { preferences } = await push.updatePreferences(wanted);
        this.#say({ text: this.link.text("saved") });
        this.link.tell("webpush-saved", { preferences });
      } catch (error) {
        await this.#load();
        this.#fail(error);
      }
    });
  }

  /** @param {any} error a PushError, or an answer */
  #fail({ code, message }) {
    this.#say({ text: this.link.text(code, message), error: code });
  }

  /** @param {Record<string, string>} said */
  #say(said) {
    this.#said = said;
    this.render();
  }
}

/**
 * A question before the browser's own: shown after a moment, once a session, and not again for a while after "not now".
 * Attributes: `delay` in seconds, `snooze-days`, `install`, `manual`, `inline`. Events: "webpush-shown" (detail
 * `{step}`) and "webpush-closed" (detail `{reason}`: "later", "done" or "closed").
 */
export class WebPushPrompt extends PushElement {
  static get observedAttributes() {
    return ["state", "lang", "theme", "install"];
  }

  #root = attachRoot(this);
  #panel = h("div", { part: "panel", class: "panel", role: "dialog", "aria-labelledby": "heading", hidden: true });
  /** @type {PromptStep | ""} */
  #step = "";
  /** @type {any} */
  #timer = null;
  #isScheduled = false;

  connectedCallback() {
    adopt(this.#root, STYLE);
    this.#root?.append(this.#panel);
    this.#panel.addEventListener("keydown", this.#onKey);
    super.connectedCallback();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
    this.#isScheduled = false;
  }

  /**
   * What is shown: "ask", "blocked" (how to unblock), "ios" (how to add to the home screen), "done", "install"; "" for
   * nothing.
   */
  get step() {
    return this.#step;
  }

  /**
   * Show what helps now, whatever "not now" and earlier prompts say; nothing where nothing helps.
   * @returns {Promise<PromptStep | "">}
   */
  async show() {
    await this.link.ready;
    const state = await this.#ask();
    const step = state === "denied" ? "blocked" : this.#stepFor(state);
    if (step) this.#go(step);
    return step;
  }

  /** @param {"later" | "done" | "closed"} [reason] "later": not again for a while */
  close(reason = "closed") {
    if (!this.#step) return;
    if (reason === "later") {
      const days = Number(this.getAttribute("snooze-days") ?? 30);
      store("localStorage", PROMPT_KEY, String(Date.now() + days * DAY_MS));
    }
    this.#go("");
    this.link.tell("webpush-closed", { reason });
  }

  /** @protected */
  render() {
    super.render();
    const { link } = this;
    const { state } = link;
    if (state !== "busy" && this.push) this.#schedule();
    if (state === "on" && this.#step === "ask") this.#go("done"); // at this click, or by another switch
    const step = this.#step;
    this.#panel.hidden = !step;
    setAttributes(this.#panel, { lang: link.language, dir: link.dir });
    refill(this.#root, this.#panel, step && [heading(link, step), this.#steps()[step]()]);
  }

  #steps() {
    const { link } = this;
    const isBusy = link.state === "busy";
    const text = (/** @type {string} */ name) => h("p", { part: "text" }, link.text(name));
    const actions = (/** @type {HTMLElement[]} */ ...buttons) =>
      h("div", { part: "actions", class: "actions" }, buttons);
    const close = () => button(link.text("close"), { id: "close", onclick: () => this.close() });
    const later = () => button(link.text("later"), { id: "later", onclick: () => this.close("later") });
    const primary = (/** @type {string} */ name, /** @type {() => void} */ onclick) =>
      button(link.text(name), { id: "accept", "aria-disabled": String(isBusy), onclick }, "primary");
    return {
      ask: () => [
        text("ask_text"),
        h("p", { part: "message", class: "message error", role: "status" }, link.error ? link.stateText() : ""),
        actions(
          later(),
          primary("accept", () => this.#accept()),
        ),
      ],
      blocked: () => [text(`unblock_${browserKind()}`), actions(close())],
      ios: () => [text("ios_text"), installSteps(link), actions(later())],
      done: () => [actions(close())],
      install: () => [
        text("install_text"),
        installOffer
          ? actions(
              later(),
              primary("install_button", () => this.#install()),
            )
          : [text(installHint()), actions(later())],
      ],
    };
  }

  async #ask() {
    return (await this.push?.state().catch(() => null)) ?? null;
  }

  /** Once for each time it is in the page. */
  #schedule() {
    if (this.#isScheduled || this.hasAttribute("manual")) return;
    this.#isScheduled = true;
    const milliseconds = Number(this.getAttribute("delay") ?? 5) * 1000;
    this.#timer = setTimeout(() => this.#offer(), milliseconds || 0);
  }

  async #offer() {
    if (document.visibilityState === "hidden") {
      const onVisible = () => this.#offer();
      document.addEventListener("visibilitychange", onVisible, { once: true });
      this.link.keep(() => document.removeEventListener("visibilitychange", onVisible));
      return;
    }
    const step = this.#stepFor(await this.#ask());
    if (!step || this.#step || !this.link.isConnected || isSnoozed()) return;
    this.#go(step);
  }

  /**
   * @param {PushState | null} state
   * @returns {PromptStep | ""}
   */
  #stepFor(state) {
    if (state === "off") return "ask";
    if (state === "needs-install") return "ios";
    return state === "on" && this.#canInstall() ? "install" : "";
  }

  #canInstall() {
    return this.hasAttribute("install") && !isInstalled() && Boolean(installOffer || installHint());
  }

  async #accept() {
    const { link } = this;
    await link.switch(this.preferences);
    if (link.state === "denied") this.#go("blocked");
    if (link.state === "on" && this.#canInstall()) this.#go("install");
  }

  async #install() {
    const offer = installOffer;
    installOffer = null;
    await offer.prompt();
    this.close("done");
  }

  /** @param {PromptStep | ""} step */
  #go(step) {
    const isNews = step && step !== this.#step;
    this.#step = step;
    if (step) store("sessionStorage", PROMPT_KEY, "shown");
    this.render();
    if (isNews) this.link.tell("webpush-shown", { step });
  }

  #onKey = (/** @type {KeyboardEvent} */ { key }) => {
    if (key === "Escape") this.close(["ask", "ios", "install"].includes(this.#step) ? "later" : "closed");
  };
}

/**
 * @param {string} moment
 * @param {string} language that of the page, which may be none
 */
function formatDate(moment, language) {
  const format = (/** @type {string | undefined} */ tag) =>
    new Date(moment).toLocaleDateString(tag, { dateStyle: "medium" });
  try {
    return format(language);
  } catch {
    return format(undefined);
  }
}

/** Whether a prompt was shown in this session, or "not now" still holds. Without storage nobody is asked. */
function isSnoozed() {
  try {
    return Boolean(sessionStorage.getItem(PROMPT_KEY)) || Number(localStorage.getItem(PROMPT_KEY)) > Date.now();
  } catch {
    return true;
  }
}

/**
 * @param {"localStorage" | "sessionStorage"} place
 * @param {string} key
 * @param {string} value
 */
function store(place, key, value) {
  try {
    globalThis[place].setItem(key, value);
  } catch {
    // then nothing is remembered, and isSnoozed() says so
  }
}

/** The kind of browser, as the texts `unblock_<kind>` name it. */
function browserKind() {
  const { userAgent = "", maxTouchPoints = 0 } = globalThis.navigator ?? {};
  if (/iPhone|iPad|iPod/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1)) return "ios";
  if (/Android/.test(userAgent)) return "android";
  if (/Firefox\//.test(userAgent)) return "firefox";
  return /Chrom(e|ium)\//.test(userAgent) ? "chromium" : "safari";
}

/** The name of the text that says how this browser installs a site by its menu; "" where that is not known. */
function installHint() {
  const kind = browserKind();
  if (kind === "android" && /Firefox\//.test(navigator.userAgent)) return "install_firefox";
  return kind === "safari" ? "install_safari" : "";
}

function isInstalled() {
  return Boolean(globalThis.matchMedia?.("(display-mode: standalone)").matches);
}

// Chromium offers an installation once, and early: before anybody has agreed to notifications
globalThis.addEventListener?.("beforeinstallprompt", (event) => {
  if (![...links].some(({ element }) => element.localName === "webpush-prompt" && element.hasAttribute("install")))
    return;
  event.preventDefault(); // it can be made later only so
  installOffer = event;
});

// --- What is shown ---------------------------------------------------------------------------------------------------

/** @typedef {any} Child nodes and texts, also nested; null and false are left out */

/**
 * An element; null and false leave attributes and children out, functions listen.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {Child[]} children
 */
function h(tag, attributes = {}, ...children) {
  return fill(/** @type {HTMLElement} */ (globalThis.document?.createElement(tag)), attributes, children);
}

/**
 * @template {Element} Made
 * @param {Made} element
 * @param {Record<string, any>} attributes
 * @param {Child[]} children
 * @returns {Made}
 */
function fill(element, attributes, children = []) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element?.append(...shown(children));
  return element;
}

/**
 * @param {Child[]} children
 * @returns {(Node | string)[]}
 */
function shown(children) {
  return /** @type {any[]} */ (children.flat(4)).filter((child) => child || child === 0);
}

/**
 * New content; the focus stays where it was, else goes to the first button.
 * @param {ShadowRoot | undefined} root
 * @param {HTMLElement} place
 * @param {Child} content
 */
function refill(root, place, content) {
  const { activeElement = null } = root ?? {};
  place.replaceChildren(...shown([content]));
  if (!root || !activeElement?.id) return;
  const again = root.getElementById(activeElement.id) ?? place.querySelector("button");
  again?.focus();
}

/**
 * @param {string} label
 * @param {Record<string, any>} attributes
 * @param {string} [kind] its part
 */
function button(label, attributes, kind = "secondary") {
  return h("button", { part: `button ${kind}`, class: kind, type: "button", ...attributes }, label);
}

/**
 * @param {string} id
 * @param {(string | undefined)[]} texts label and description
 * @param {boolean} checked
 * @param {(isChecked: boolean) => void} change
 */
function checkbox(id, [label, description], checked, change) {
  const onchange = (/** @type {any} */ { target }) => change(target.checked);
  return h("div", { class: "row" }, [
    h("label", { class: "grow", for: id }, [
      h("span", { part: "label" }, label),
      description && h("span", { part: "description", class: "muted" }, description),
    ]),
    h("input", { part: "checkbox", id, type: "checkbox", checked, onchange }),
  ]);
}

/**
 * @param {string} legend
 * @param {Child} children
 */
function group(legend, children) {
  return h("fieldset", { part: "group" }, h("legend", { part: "legend" }, legend), children);
}

/**
 * @param {Link} link
 * @param {string} step also the name of the text
 */
function heading(link, step) {
  return h("h2", { part: "heading", id: "heading" }, link.text(step));
}

/** @param {Link} link */
function installSteps(link) {
  return h(
    "ol",
    { part: "steps", class: "steps" },
    Object.entries(PICTURES).map(([name, path]) =>
      h("li", { part: "step" }, picture(path), h("span", {}, link.text(name))),
    ),
  );
}

/** In a square of 24 by 24. */
const PICTURES = {
  ios_share: "M12 15V3M8 7L12 3L16 7M8 10H5V21H19V10H16",
  ios_add: "M4 6A2 2 0 0 1 6 4H18A2 2 0 0 1 20 6V18A2 2 0 0 1 18 20H6A2 2 0 0 1 4 18ZM12 8V16M8 12H16",
  ios_open: "M12 3A6 6 0 0 0 6 9C6 15 4 16 4 17H20C20 16 18 15 18 9A6 6 0 0 0 12 3ZM10 21H14",
};

/** @param {string} path */
function picture(path) {
  const make = (/** @type {string} */ tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
  const attributes = { part: "picture", class: "picture", viewBox: "0 0 24 24", "aria-hidden": "true" };
  return fill(make("svg"), attributes, [fill(make("path"), { d: path })]);
}

/** @param {PushState | "busy"} state */
function switchAttributes(state) {
  return {
    role: "switch",
    "aria-checked": String(state === "on"),
    "aria-busy": String(state === "busy"),
    "aria-disabled": String(!SWITCHABLE.includes(state)),
  };
}

/**
 * @param {HTMLElement} element
 * @returns {ShadowRoot | undefined}
 */
function attachRoot(element) {
  return element.attachShadow?.({ mode: "open" });
}

/** @type {Record<string, CSSStyleSheet>} by their text */
const sheets = {};

/**
 * Adds a style sheet to a document or shadow root, once.
 * @param {any} root
 * @param {string} text
 */
function adopt(root, text) {
  if (!root?.adoptedStyleSheets || !globalThis.CSSStyleSheet?.prototype.replaceSync) return;
  if (!sheets[text]) (sheets[text] = new CSSStyleSheet()).replaceSync(text);
  if (!root.adoptedStyleSheets.includes(sheets[text])) root.adoptedStyleSheets.push(sheets[text]);
}

/** @param {(light: string, dark: string) => string} pick */
const colours = (pick) => `--_accent:var(--webpush-accent,${pick("#0b57d0", "#a8c7fa")});
--_on:var(--webpush-accent-text,${pick("#fff", "#062e6f")});--_back:var(--webpush-background,${pick("#fff", "#1d1f23")});
--_text:var(--webpush-text,${pick("#1d1f23", "#e8eaee")});--_muted:var(--webpush-muted,${pick("#555b64", "#b0b6bf")});
--_line:var(--webpush-border,${pick("#868c95", "#7b818a")});--_error:var(--webpush-error,${pick("#b3261e", "#ffb4ab")})`;

/** @param {string} selector */
const coloured = (selector) => `${selector}{${colours((light) => light)}}
@supports (color:light-dark(red,red)){${selector}{${colours((light, dark) => `light-dark(${light},${dark})`)}}}`;

/**
 * A button with a track before its text; the gradient is the knob.
 * @param {string} selector
 */
const switchStyle = (
  selector,
) => `:where(${selector}){display:inline-flex;align-items:center;gap:.75em;padding:.25em;border:0;
border-radius:2em;background:none;color:inherit;font:inherit;cursor:pointer}
:where(${selector})::before{content:"";box-sizing:border-box;flex:none;inline-size:3em;block-size:1.75em;border:2px solid var(--_line);
border-radius:2em;background:radial-gradient(circle,var(--_line) .5em,#0000 calc(.5em + 1px)) -.6em 50%/100% 100% no-repeat;
forced-color-adjust:none}
:where(${selector}:dir(rtl))::before{background-position-x:.6em}
:where(${selector}[aria-checked=true])::before{border-color:var(--_accent);background-color:var(--_accent);
background-image:radial-gradient(circle,var(--_on) .5em,#0000 calc(.5em + 1px));background-position-x:.6em}
:where(${selector}[aria-checked=true]:dir(rtl))::before{background-position-x:-.6em}
:where(${selector}[aria-disabled=true]){cursor:default}
:where(${selector}[aria-disabled=true])::before{opacity:.5}`;

/** A long reason goes below the switch as a whole, unless the button is one of the page's own. */
const TOGGLE_STYLE = `${coloured(":where(webpush-toggle)")}${switchStyle("[data-webpush-switch]")}
:where([data-webpush-switch]){margin-inline:-.25em .75em;vertical-align:middle}
:where(webpush-toggle:has(>[data-webpush-switch])){display:inline-flex;flex-wrap:wrap;align-items:center}`;

const STYLE = `${coloured(":host")}${switchStyle(".switch")}
:host{display:block;max-inline-size:40rem}
:host([hidden]),[hidden]{display:none!important}
:host([theme=light]){color-scheme:light}:host([theme=dark]){color-scheme:dark}:host([theme=auto]){color-scheme:light dark}
.panel,.message{font:var(--webpush-font,inherit);line-height:1.5;overflow-wrap:anywhere}
.panel{box-sizing:border-box;padding:1.25em;border-radius:var(--webpush-radius,.75em);background:var(--_back);color:var(--_text);
border:1px solid color-mix(in srgb,var(--_line) 40%,transparent)}
.row{display:flex;align-items:center;gap:1em;padding-block:.4em}
.grow{flex:1}.grow>[part]{display:block}
.muted{color:var(--_muted);font-size:.875em}
fieldset{margin:1.25em 0 0;padding:0;border:0;min-inline-size:0}
legend,h2{padding:0;margin:0;font-size:1em;font-weight:600}
h2{font-size:1.125em}
p{margin:.5em 0 0}
ul,ol{margin:0;padding:0;list-style:none}
.message{margin:.5em 0 0;padding-inline:1.25em;min-block-size:1.5em;color:var(--webpush-muted,inherit)}.error{color:var(--_error)}
.panel .message{padding-inline:0}
.switch{margin-inline-end:-.25em}
.panel .message:empty{display:none}
.fields{display:flex;flex-wrap:wrap;gap:.75em}
.field{display:flex;flex-direction:column;gap:.25em;font-size:.875em;min-inline-size:0}
input,select{font:inherit;color:inherit;accent-color:var(--_accent)}
[type=time],select{box-sizing:border-box;max-inline-size:100%;min-block-size:2.75em;padding:.25em .6em;background:var(--_back);border:1px solid var(--_line);border-radius:.5em}
[type=checkbox]{flex:none;inline-size:1.4em;block-size:1.4em;min-inline-size:24px;min-block-size:24px;margin:0}
button{font:inherit;cursor:pointer}
.primary,.secondary{min-block-size:2.75em;padding:.4em 1.1em;border:1px solid var(--_line);border-radius:2em;background:transparent;color:inherit}
.primary{background:var(--_accent);border-color:var(--_accent);color:var(--_on)}
.panel>.secondary{margin-block-start:1.25em}
[aria-disabled=true]{cursor:default;opacity:.6}
.actions{display:flex;flex-wrap:wrap;justify-content:flex-end;gap:.75em;margin-block-start:1em}
.steps{margin-block-start:.75em}
.steps li{display:flex;align-items:center;gap:.75em;padding-block:.4em}
.picture{flex:none;inline-size:1.75em;block-size:1.75em;fill:none;stroke:var(--_accent);stroke-width:1.75;stroke-linecap:round;stroke-linejoin:round}
:focus-visible{outline:2px solid var(--_accent);outline-offset:2px}
[role=dialog]{position:fixed;z-index:var(--webpush-z-index,1000);inset-block-end:calc(1rem + env(safe-area-inset-bottom));inset-inline-end:1rem;
inline-size:min(24rem,100vw - 2rem);max-block-size:calc(100vh - 2rem);overflow:auto;box-shadow:0 .5em 2em #0004}
:host([inline]) [role=dialog]{position:static;inline-size:auto;box-shadow:none}
@media (prefers-reduced-motion:no-preference){[role=dialog]{animation:rise .25s}.switch::before{transition:background-position .15s}
@keyframes rise{from{opacity:0;translate:0 1em}}}`;

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

for (const [name, definition] of Object.entries({
  "webpush-toggle": WebPushToggle,
  "webpush-preferences": WebPushPreferences,
  "webpush-prompt": WebPushPrompt,
})) {
  if (globalThis.customElements && !customElements.get(name)) customElements.define(name, definition);
}
