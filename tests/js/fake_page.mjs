/**
 * A page around the shipped modules: the globals they use, joined to a FakeBrowser that runs the shipped worker, and a
 * server that answers as the HTTP API does. `new FakePage()` installs the globals, `close()` takes them away.
 */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { FakeBrowser, ORIGIN, PUBLIC_KEY, STATIC } from "./fake_browser.mjs";

/** Imports a shipped module; Node takes `.js` for a module only beside a package.json that says so. */
export async function load(name) {
  const [file, query] = name.split("?");
  return import(pathToFileURL(place(file)) + (query ? `?${query}` : ""));
}

/** Where the copy of a shipped module is. */
export const place = (name) => join(folder, name);

const folder = mkdtempSync(join(tmpdir(), "webpush-kit-"));
cpSync(STATIC, folder, { recursive: true });
writeFileSync(join(folder, "package.json"), '{"type": "module"}');
process.on("exit", () => rmSync(folder, { recursive: true }));

export class FakePage {
  browser = new FakeBrowser();
  server = new FakeServer();
  /** The answer to the permission prompt. */
  answer = "granted";
  prompts = 0;
  meta = { base: "/api/v1/push/", csrf: "from-meta", user: "7" };
  /** That of the site's worker. */
  registration = null;
  /** The titles of the notifications that the page has shown by a worker. */
  shown = [];
  /** Those of other scopes. */
  others = [];
  #before = new Map();

  constructor({
    supported = true,
    hasWindowPush = false,
    meta = {},
    lang = "de",
    cookie = "",
    userAgent = "Test",
    hostname = new URL(ORIGIN).hostname,
    ...navigator
  } = {}) {
    Object.assign(this.meta, meta);
    this.browser.permission = "default";
    this.browser.answer = (request) => this.server.answer(request);
    this.serviceWorker = Object.assign(new EventTarget(), {
      getRegistration: async (url) => {
        const matching = this.registrations.filter(({ scope }) => new URL(url, ORIGIN).href.startsWith(scope));
        return matching.sort((one, other) => other.scope.length - one.scope.length)[0];
      },
      getRegistrations: async () => this.registrations,
      register: async (url, { scope }) => (this.registration = this.makeRegistration(url, scope)),
    });
    this.document = Object.assign(new EventTarget(), {
      baseURI: `${ORIGIN}/page/`,
      visibilityState: "visible",
      documentElement: { lang },
      cookie,
      createElement: (name) => new FakeElement(name),
      createElementNS: (_namespace, name) => new FakeElement(name),
      querySelector: (selector) => {
        const content = this.meta[/webpush-kit-(\w+)/.exec(selector)[1]];
        return content === undefined ? null : { content };
      },
    });
    this.#install({
      navigator: {
        userAgent,
        language: "de-AT",
        serviceWorker: this.serviceWorker,
        locks: new FakeLocks(),
        ...navigator,
      },
      document: this.document,
      location: Object.assign(new URL(`${ORIGIN}/page/`), { hostname }),
      localStorage: new FakeStorage(),
      sessionStorage: new FakeStorage(),
      fetch: (url, init) => this.browser.fetch(url, init),
      matchMedia: () => ({ matches: false }),
      HTMLElement: FakeElement,
      customElements: globalThis.customElements ?? new FakeRegistry(),
    });
    if (supported) this.#install({ Notification: this.#notification(), PushManager: class {} });
    // WebKit, and the Push API since 2025: the subscription of the scope "/", with or without a worker
    if (hasWindowPush) this.#install({ pushManager: this.browser.worker.context.registration.pushManager });
    delete globalThis[Symbol.for("webpush-kit")];
  }

  close() {
    for (const [name, descriptor] of this.#before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }

  get registrations() {
    return [this.registration, ...this.others].filter(Boolean);
  }

  get requests() {
    return this.browser.requests.map(({ method, url }) => `${method} ${url.slice(`${ORIGIN}/api/v1/push/`.length)}`);
  }

  makeRegistration(url, scope = `${ORIGIN}/`, browser = this.browser) {
    const registration = {
      scope: new URL(scope, ORIGIN).href,
      unregister: async () => {
        this.others = this.others.filter((one) => one !== registration);
        return true;
      },
      active: {
        scriptURL: new URL(url, ORIGIN).href,
        postMessage: (data, ports = []) =>
          void browser.worker.dispatch("message", { data: structuredClone(data), ports }),
      },
      pushManager: browser.worker.context.registration.pushManager,
      showNotification: async (title) => void this.shown.push(title),
    };
    return registration;
  }

  /** A worker with a scope of its own, in the same browser. */
  addRegistration(url, scope) {
    const browser = new FakeBrowser({ scope: new URL(scope, ORIGIN).href, url: new URL(url, ORIGIN).href });
    browser.indexedDB = this.browser.indexedDB;
    browser.answer = this.browser.answer;
    browser.startWorker();
    const registration = this.makeRegistration(url, scope, browser);
    this.others.push(registration);
    return { browser, registration };
  }

  #notification() {
    const { browser } = this;
    const page = this;
    return {
      get permission() {
        return browser.permission;
      },
      async requestPermission() {
        page.prompts += 1;
        browser.permission = page.answer;
        return page.answer;
      },
    };
  }

  #install(globals) {
    for (const [name, value] of Object.entries(globals)) {
      this.#before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
      Object.defineProperty(globalThis, name, { configurable: true, writable: true, value });
    }
  }
}

/** The HTTP API for one signed-in user, or for nobody. */
class FakeServer {
  publicKey = PUBLIC_KEY;
  scope = "/";
  isDeclarative = false;
  signedIn = true;
  /** The mark of the one who is signed in. */
  user = "7";
  /** endpoint -> mark of the owner */
  owners = new Map();
  /** endpoint -> preferences */
  subscriptions = new Map();
  /** Answers to give first: `{status, body}`, or an error to throw. */
  script = [];
  #tokens = 0;

  answer({ method, url, body, headers }) {
    const { pathname, searchParams } = new URL(url);
    const path = pathname.split("/").at(-1);
    if (path === "config")
      return ok({
        public_key: this.publicKey,
        types: {},
        urls: {},
        service_worker_scope: this.scope,
        declarative: this.isDeclarative,
        user: this.signedIn ? this.user : "",
      });
    const scripted = this.script.shift();
    if (scripted instanceof Error) throw scripted;
    if (scripted) return scripted;
    if (!this.signedIn) return refusal(403, "forbidden");
    const endpoint = searchParams.get("endpoint") ?? body.endpoint ?? body.subscription.endpoint;
    if (path === "subscribe") {
      this.subscriptions.set(endpoint, body.preferences ?? {});
      this.owners.set(endpoint, this.user);
      const token = `token-${(this.#tokens += 1)}`;
      return ok({ subscription_id: this.subscriptions.size, subscription_token: token, user: this.user });
    }
    if (!this.subscriptions.has(endpoint)) return refusal(404, "not_found");
    const owner = this.owners.get(endpoint) ?? this.user;
    if (owner !== this.user && path !== "unsubscribe") {
      return refusal(404, headers["X-Subscription-Token"] ? "owner_changed" : "not_found");
    }
    if (path === "unsubscribe") this.subscriptions.delete(endpoint);
    if (method === "PUT") this.subscriptions.set(endpoint, body.preferences);
    const preferences = this.subscriptions.get(endpoint);
    return ok(method === "GET" ? { preferences, user: owner } : { message: "Done." });
  }
}

export const refusal = (status, code) => ({
  status,
  body: { success: false, code, message: `No: ${code}.`, errors: {} },
});
const ok = (body) => ({ status: 200, body: { success: true, ...body } });

/** One at a time for each name; the time-out is not needed here. */
class FakeLocks {
  #last = new Map();

  request(name, _options, task) {
    const turn = (this.#last.get(name) ?? Promise.resolve()).then(task, task);
    this.#last.set(name, turn);
    return turn;
  }
}

class FakeStorage {
  #items = new Map();

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  all() {
    return Object.fromEntries(this.#items);
  }

  clear() {
    this.#items.clear();
  }

  setItem(key, value) {
    this.#items.set(key, String(value));
  }
}

class FakeRegistry {
  #classes = new Map();

  get(name) {
    return this.#classes.get(name);
  }

  define(name, definition) {
    this.#classes.set(name, definition);
  }
}

/** As much of an element as ours use. */
export class FakeElement extends EventTarget {
  children = [];
  isConnected = false;
  hidden = false;
  #attributes = new Map();

  constructor(localName = "") {
    super();
    this.localName = localName;
  }

  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join("");
  }

  set textContent(text) {
    this.children = text ? [text] : [];
  }

  get id() {
    return this.getAttribute("id") ?? "";
  }

  get elements() {
    return this.children.filter((child) => child instanceof FakeElement);
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  hasAttribute(name) {
    return this.#attributes.has(name);
  }

  removeAttribute(name) {
    this.#attributes.delete(name);
  }

  setAttribute(name, value) {
    this.#attributes.set(name, String(value));
  }

  append(...children) {
    for (const child of children) if (child instanceof FakeElement) child.isConnected = true;
    this.children.push(...children);
  }

  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }

  attachShadow() {
    return (this.shadowRoot = new FakeRoot());
  }

  /** Every element inside that holds the condition. */
  find(holds) {
    return this.elements.flatMap((child) => [...(holds(child) ? [child] : []), ...child.find(holds)]);
  }

  querySelector(selector) {
    const wanted =
      selector === "button"
        ? (one) => one.localName === "button" || one.type === "button"
        : (one) => one.getAttribute("role") === "status";
    return this.find(wanted)[0] ?? null;
  }

  focus() {
    FakeRoot.focused = this;
  }

  click() {
    this.focus();
    this.dispatchEvent(new Event("click"));
  }
}

/** A shadow root: it knows the element that has the focus. */
class FakeRoot extends FakeElement {
  static focused = null;

  get activeElement() {
    return FakeRoot.focused;
  }

  getElementById(id) {
    return this.find((one) => one.id === id)[0] ?? null;
  }
}
