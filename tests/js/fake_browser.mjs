/**
 * A browser as the service worker sees it: runs the shipped file in a fresh `vm` context and keeps what outlives a
 * worker (notifications on screen, storage, the subscription). The rules are those of the three engines, named by
 * `engine`: "chromium", "firefox", "webkit".
 */
import { readFileSync } from "node:fs";
import vm from "node:vm";

import { FakeIndexedDB } from "./fake_indexeddb.mjs";

export const STATIC = new URL("../../src/django_webpush_kit/static/django_webpush_kit/", import.meta.url);
export const ORIGIN = "https://example.com";
export const PUBLIC_KEY = "BLImh2B_aoqI7HC-QC7TyGd6vYzO2P7sgrApxVnsq-ksX4br6GNOn8p03nfVSb5FTeQ2hxQxVlZFbvp5h9NKsPE";

const USER_AGENTS = {
  chromium: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  firefox: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  webkit:
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
};
/** Timers of the worker run this much faster. */
const TIMES_FASTER = 50;
const SCRIPT = readFileSync(new URL("service-worker.js", STATIC), "utf8");

export class FakeBrowser {
  /** Every call of showNotification() that succeeded: `{id, title, options}`. */
  shown = [];
  /** Those that made a sound or popped up: `{id, title}`. */
  alerts = [];
  /** The events the server accepted. */
  reports = [];
  /** Every request: `{url, method, headers, body, credentials}`. */
  requests = [];
  /** What is on screen. */
  notifications = [];
  pages = [];
  opened = [];
  /** The page in front. */
  front = null;
  /** How often the browser showed "This site has been updated in the background". */
  generic = 0;
  badge = null;
  permission = "granted";
  subscription = null;
  syncs = [];
  /** What the worker wrote to the console. */
  errors = [];
  isDeclarative = false;
  /** How often WebKit showed a declarative notification itself. */
  unchanged = 0;
  skippedWaiting = false;
  claimed = false;
  indexedDB = new FakeIndexedDB();
  /** A click allows one call of focus() or openWindow(), for a while. */
  #mayRaise = false;
  #closeEvents = [];
  #endpoints = 0;

  constructor({
    engine = "chromium",
    url = `${ORIGIN}/api/v1/push/service-worker.js`,
    imported = false,
    scope = `${ORIGIN}/`,
    settings,
  } = {}) {
    this.scope = scope;
    this.engine = engine;
    this.url = url;
    this.imported = imported;
    this.settings = settings;
    this.startWorker();
  }

  /** The server; tests replace it. Returns `{status, body}`, or throws for a network that is away. */
  answer(request) {
    if (request.url.endsWith("/events")) return { status: 200, body: { success: true } };
    if (request.url.endsWith("/config")) return { status: 200, body: { success: true, public_key: PUBLIC_KEY } };
    return { status: 200, body: { success: true, subscription_id: 1, subscription_token: "renewed" } };
  }

  /** Kills the worker, which forgets all its variables, and starts it again. */
  startWorker() {
    this.worker = new FakeWorker(this);
    this.worker.evaluate(SCRIPT);
  }

  /** Sets the worker's clock forward by so many milliseconds. */
  passTime(milliseconds) {
    this.worker.evaluate(`{ const now = Date.now; Date.now = () => now() + ${milliseconds}; }`);
  }

  async push(payload) {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    const data = payload === null ? null : { json: () => JSON.parse(text), text: () => text };
    await this.worker.dispatch("push", { data });
    if (this.engine === "chromium" && !this.notifications.length && !this.#isPageVisible()) this.generic += 1;
    await Promise.all(this.#closeEvents.splice(0));
  }

  /**
   * What WebKit does with a mutable declarative push: it hands the notification over, and shows it as it is unless the
   * worker shows one with somewhere to navigate to.
   */
  async pushProposal(notification, members = {}) {
    const before = this.shown.length;
    this.isDeclarative = true;
    await this.worker.dispatch("push", { data: null, notification, ...members }).catch(() => undefined);
    this.isDeclarative = false;
    if (this.shown.length === before) this.unchanged += 1;
  }

  /** Resolves when the worker has done its work. */
  async click(notification, action = "") {
    this.#mayRaise = true;
    await this.worker.dispatch("notificationclick", { notification, action });
    this.#mayRaise = false;
  }

  /** What focus() and openWindow() ask first. */
  raise() {
    if (!this.#mayRaise) throw new DOMException("Not allowed to open or focus a window.", "InvalidAccessError");
    this.#mayRaise = false;
  }

  dismiss(notification) {
    this.#takeAway(notification);
    return this.worker.dispatch("notificationclose", { notification });
  }

  changeSubscription(members = {}) {
    return this.worker.dispatch("pushsubscriptionchange", { oldSubscription: null, newSubscription: null, ...members });
  }

  async message(data, source = null) {
    const replies = [];
    const ports = [{ postMessage: (reply) => replies.push(reply) }];
    await this.worker.dispatch("message", { data, source, ports });
    return replies[0];
  }

  openPage(path, { controlled = true, nested = false } = {}) {
    const page = new FakePage(this, new URL(path, ORIGIN).href, controlled, nested);
    this.pages.push(page);
    return page;
  }

  /** What `self.registration.showNotification()` does. */
  show(title, options) {
    if (this.permission !== "granted") throw new TypeError("No notification permission has been granted");
    if (this.isDeclarative && !options.navigate) throw new TypeError("a declarative notification needs navigate");
    if (options.renotify && !options.tag) throw new TypeError("renotify needs a tag");
    if (options.silent && options.vibrate) throw new TypeError("silent notifications must not vibrate");
    const id = options.data?.webpush_kit?.id ?? "";
    const replaced =
      this.engine !== "webkit" && options.tag && this.notifications.find((one) => one.options.tag === options.tag);
    if (replaced) this.#replace(replaced);
    const notification = { title, options, data: structuredClone(options.data), tag: options.tag };
    notification.close = () => this.#takeAway(notification);
    this.notifications.push(notification);
    this.shown.push({ id, title, options });
    if (!options.silent && (!replaced || options.renotify)) this.alerts.push({ id, title });
  }

  async fetch(url, { method = "GET", headers = {}, body, credentials }) {
    const request = { url: new URL(url, ORIGIN).href, method, headers, credentials, body: body && JSON.parse(body) };
    this.requests.push(request);
    const answer = this.answer(request);
    if (answer.status < 300 && request.url.endsWith("/events")) this.reports.push(...request.body.events);
    return new Response(JSON.stringify(answer.body ?? {}), { status: answer.status });
  }

  #isPageVisible() {
    return this.pages.some((page) => page.visibilityState === "visible");
  }

  nextEndpoint() {
    return `https://push.example.net/${(this.#endpoints += 1)}`;
  }

  /** A subscription as PushManager makes it. */
  subscribe(endpoint, applicationServerKey) {
    this.subscription = {
      endpoint,
      options: { applicationServerKey },
      toJSON: () => ({ endpoint, expirationTime: null, keys: { p256dh: "p", auth: "a" } }),
      unsubscribe: async () => {
        this.subscription = null;
        return true;
      },
    };
    return this.subscription;
  }

  /** Firefox, measured with 153: what is replaced gets its "notificationclose". Chromium 156 fires none. */
  #replace(notification) {
    this.#takeAway(notification);
    if (this.engine === "firefox") this.#closeEvents.push(this.worker.dispatch("notificationclose", { notification }));
  }

  #takeAway(notification) {
    this.notifications = this.notifications.filter((one) => one !== notification);
  }
}

class FakePage {
  static #ids = 0;
  id = `page-${(FakePage.#ids += 1)}`;
  messages = [];
  focused = false;
  visibilityState = "visible";
  /** Where the page is now, if it runs our module: what it answers. Null: no module, no answer. */
  href = null;
  /** Whether the page's module goes where it is told to; what it was told is in `navigations`. */
  isHandling = false;
  navigations = [];

  constructor(browser, url, controlled, nested) {
    this.browser = browser;
    this.url = url;
    this.controlled = controlled;
    this.frameType = nested ? "nested" : "top-level";
  }

  postMessage(message, [port] = []) {
    if (!port) this.messages.push(structuredClone(message));
    else if (this.href) this.#answer(message, port);
  }

  async focus() {
    this.browser.raise();
    this.focused = true;
    this.browser.front = this;
    return this;
  }

  /** A new document is a new client. */
  async navigate(url) {
    if (!this.controlled) throw new TypeError("not controlled by this service worker");
    this.url = url;
    this.id += "'";
    return this;
  }

  #answer(message, port) {
    if (message.type === "webpush-kit:where") port.postMessage({ href: this.href });
    if (message.type !== "webpush-kit:navigate") return;
    this.navigations.push(structuredClone(message));
    port.postMessage({ isHandled: this.isHandling });
  }
}

/** Delivers at once: whether an answer comes in time must not depend on the machine. */
class FakeMessageChannel {
  port1 = { onmessage: null, close: () => {} };
  port2 = { postMessage: (data) => this.port1.onmessage({ data: structuredClone(data) }) };
}

/** One life of the worker. */
class FakeWorker {
  #listeners = new Map();

  constructor(browser) {
    this.browser = browser;
    this.context = vm.createContext(this.#globals());
    this.context.self = this.context;
    if (browser.settings) this.context.WEBPUSH_KIT = browser.settings;
  }

  evaluate(script) {
    const filename = this.browser.imported ? `${ORIGIN}/static/imported/service-worker.js` : this.browser.url;
    vm.runInContext(script, this.context, { filename });
  }

  /** Runs the listeners and waits for all that was passed to waitUntil(); rejects with the first failure. */
  async dispatch(type, members) {
    const waiting = [];
    const event = { type, ports: [], ...members, waitUntil: (promise) => waiting.push(Promise.resolve(promise)) };
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
    const outcomes = await Promise.allSettled(waiting);
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
  }

  #globals() {
    const { browser } = this;
    return {
      addEventListener: (type, listener) => this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]),
      location: new URL(browser.url),
      navigator: {
        userAgent: USER_AGENTS[browser.engine],
        language: "de-AT",
        setAppBadge: async (count) => (browser.badge = count),
        clearAppBadge: async () => (browser.badge = 0),
      },
      registration: {
        scope: browser.scope,
        showNotification: async (title, options) => browser.show(title, options),
        getNotifications: async ({ tag } = {}) => browser.notifications.filter((one) => !tag || one.tag === tag),
        pushManager: {
          getSubscription: async () => browser.subscription,
          subscribe: async ({ userVisibleOnly, applicationServerKey }) => {
            const allowed = browser.permission === "granted" && userVisibleOnly === true;
            if (!allowed) throw new DOMException("permission denied", "NotAllowedError");
            if (browser.subscription) throw new DOMException("subscribed with another key", "InvalidStateError");
            return browser.subscribe(browser.nextEndpoint(), applicationServerKey);
          },
        },
        ...(browser.engine === "chromium" && { sync: { register: async (tag) => void browser.syncs.push(tag) } }),
      },
      clients: {
        matchAll: async ({ includeUncontrolled = false } = {}) =>
          browser.pages.filter((page) => page.controlled || includeUncontrolled),
        openWindow: async (url) => {
          browser.raise();
          browser.opened.push(url);
          const page = new URL(url).origin === ORIGIN ? browser.openPage(url) : null;
          browser.front = page;
          return page;
        },
        claim: async () => void (browser.claimed = true),
      },
      skipWaiting: async () => void (browser.skippedWaiting = true),
      MessageChannel: FakeMessageChannel,
      fetch: (url, init = {}) => browser.fetch(url, init),
      indexedDB: browser.indexedDB,
      setTimeout: (run, delay, ...values) =>
        setTimeout(() => browser.worker === this && run(...values), delay / TIMES_FASTER),
      Notification: browser.engine === "webkit" ? { prototype: { navigate: "" } } : { prototype: {} },
      console: { error: (...values) => browser.errors.push(values.join(" ")) },
      ...{ URL, URLSearchParams, AbortSignal, clearTimeout, atob, btoa, structuredClone },
    };
  }
}
