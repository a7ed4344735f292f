/**
 * django-webpush-kit: push subscriptions from the page's side. An ES module without dependencies or build step.
 *
 *   import { createPush } from ".../webpush-kit.js";
 *   const push = createPush();
 *   button.addEventListener("click", () => push.subscribe());
 *
 * Options not given are read from the head of the page: `<meta name="webpush-kit-base" content="/api/v1/push/">`, and
 * likewise `webpush-kit-csrf`, `webpush-kit-key` (the VAPID public key) and `webpush-kit-user` (any text that differs
 * from one signed-in user to the next). Under a strict CSP only this file needs to be allowed: nothing here is inline.
 */

const REQUEST_PATIENCE = 15000; // milliseconds
const WORKER_PATIENCE = 2000; // milliseconds a service worker of ours has to answer a message
const REPAIR_EVERY = 12 * 60 * 60 * 1000; // milliseconds between two checks of a subscription nothing speaks against
const MEMORY = "webpush-kit"; // the key in localStorage

/**
 * What can go wrong, as `code`: "unsupported", "needs_install", "denied", "dismissed", "push_service_unavailable",
 * "service_worker_failed", "service_worker_conflict", "not_configured", "network_error", or the code the server gave.
 */
export class PushError extends Error {
  constructor(code, message, { status = 0, errors = {}, cause } = {}) {
    super(message || code, { cause });
    this.name = "PushError";
    this.code = code;
    this.status = status;
    this.errors = errors;
  }
}

/**
 * The one-call start: an API client and a manager for it, repairing the subscription in the background.
 * The first manager made on a page also serves PushNotificationIntegration and `<webpush-toggle>`.
 */
export function createPush(options = {}) {
  const manager = new PushNotificationManager(options);
  shared.manager ??= manager;
  if (options.repair !== false) manager.repair().catch((error) => manager.report(error));
  return manager;
}

/** The manager that createPush() made first on this page, made now if need be. */
export function defaultPush() {
  return shared.manager ?? createPush();
}

/** On `globalThis`, because a page may load this file under two URLs (with and without a hash in its name). */
const shared = (globalThis[Symbol.for("webpush-kit")] ??= { manager: null });

/**
 * Subscribes this browser and keeps its subscription in step with the server.
 *
 * `state()` is one of "unsupported", "needs-install" (iOS: add the site to the home screen first), "denied", "off",
 * "on". Events: "change" (the new state), "error" (a PushError from the background), "shown" and "clicked" (what the
 * service worker tells: `{id, title, data, url, action}`).
 */
export class PushNotificationManager {
  #listeners = new Map();
  #lastState = null;
  #config = null;

  constructor(options = {}) {
    this.options = { publicKey: metaContent("key"), user: metaContent("user") ?? "", ...options };
    this.api = options.api ?? new PushNotificationAPI(options);
    globalThis.navigator?.serviceWorker?.addEventListener("message", ({ data }) => {
      if (data?.type === "webpush-kit:shown") this.#emit("shown", data);
      if (data?.type === "webpush-kit:clicked") this.#emit("clicked", data);
    });
    // Permission and subscription also change in the browser's settings and in other tabs.
    globalThis.document?.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#announce().catch((error) => this.report(error));
    });
  }

  async state() {
    if (!isSupported()) return needsInstall() ? "needs-install" : "unsupported";
    if (Notification.permission === "denied") return "denied";
    const subscription = await this.subscription();
    return subscription && !recall().detached ? "on" : "off";
  }

  /** The browser's PushSubscription, or null. */
  async subscription() {
    const registration = await navigator.serviceWorker.getRegistration(this.#scope());
    return (await registration?.pushManager.getSubscription()) ?? null;
  }

  /**
   * Asks for permission, subscribes and tells the server. Call it from a click: browsers refuse to ask otherwise.
   * Resolves to the server's `{subscription_id, ...}`; throws a PushError.
   */
  async subscribe(preferences = {}) {
    if (!isSupported()) throw new PushError(needsInstall() ? "needs_install" : "unsupported");
    // Nothing may be awaited before this line: the click's permission to ask would be spent.
    const permission = await Notification.requestPermission();
    if (permission !== "granted") {
      await this.#announce();
      throw new PushError(permission === "denied" ? "denied" : "dismissed");
    }
    const config = await this.config();
    const registration = await this.#register(config);
    const had = await registration.pushManager.getSubscription();
    const subscription = await subscribeWith(registration, config.public_key);
    try {
      return await this.#post(registration, subscription, config, preferences);
    } catch (error) {
      // A subscription the server does not know would look "on" and bring nothing.
      if (!had) await subscription.unsubscribe();
      throw error;
    } finally {
      await this.#announce();
    }
  }

  /** Ends the subscription here and on the server. Away from the network the server learns at its next delivery. */
  async unsubscribe() {
    const subscription = await this.subscription();
    if (subscription) {
      await this.#remove(subscription);
      await subscription.unsubscribe();
    }
    remember({});
    await this.#announce();
  }

  /**
   * To be awaited before logging out: the server stops sending to this browser, the browser's permission stays. The
   * same user (see `webpush-kit-user`) is connected again by the next repair, anyone else only by subscribing.
   */
  async detach() {
    const subscription = await this.subscription();
    if (!subscription) return;
    await this.#remove(subscription);
    remember({ detached: true, user: this.options.user, scope: this.#scope() });
    await this.#announce();
  }

  /** The stored preferences: `{categories: {...}, quiet_hours: {...}}`. */
  async preferences() {
    return (await this.#forEndpoint("getPreferences")).preferences;
  }

  async updatePreferences(preferences) {
    return this.#forEndpoint("updatePreferences", preferences);
  }

  async sendTestNotification() {
    return this.#forEndpoint("sendTestNotification");
  }

  /**
   * Brings a subscription back in step: a changed VAPID key means subscribing anew, an endpoint that the server does
   * not know for this user is sent again. Asks the server at most every 12 hours unless the key or the user changed,
   * or `force` is given. Resolves to "nothing", "fresh", "renewed" or "resent".
   */
  async repair({ force = false } = {}) {
    if (!isSupported() || Notification.permission !== "granted") return "nothing";
    const subscription = await this.subscription();
    if (!subscription) return "nothing";
    const known = recall();
    if (known.detached && (!known.user || known.user !== this.options.user)) return "nothing";
    if (!force && this.#isFresh(known, subscription)) return "fresh";

    if (force) this.#config = null;
    const config = await this.config();
    const registration = await this.#register(config);
    const renewed = !hasKey(subscription, config.public_key);
    if (!renewed && !known.detached) {
      const answer = await this.api.getPreferences(subscription.endpoint);
      const signedOut = [401, 403].includes(answer.status);
      if (answer.success || signedOut) {
        this.#note(subscription, config);
        return answer.success ? "fresh" : "nothing";
      }
      if (answer.status !== 404) throw failure(answer);
    }
    const current = await subscribeWith(registration, config.public_key);
    await this.#post(registration, current, config, undefined, known.endpoint ?? subscription.endpoint);
    await this.#announce();
    return renewed ? "renewed" : "resent";
  }

  /** The server's `config` answer, asked for once. */
  async config() {
    if (!this.#config) {
      const answer = await this.api.getConfig();
      if (!answer.success) throw failure(answer);
      if (!answer.data.public_key) throw new PushError("not_configured", "The server has no VAPID key.");
      this.#config = answer.data;
    }
    return this.#config;
  }

  /** Calls `listener(detail)` at each event of that name; returns a function that ends it. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name).delete(listener);
  }

  /** Passes an error of background work to the listeners of "error". */
  report(error) {
    this.#emit("error", error instanceof PushError ? error : new PushError("failed", error.message, { cause: error }));
  }

  #emit(name, detail) {
    for (const listener of this.#listeners.get(name) ?? []) listener(detail);
  }

  async #announce() {
    const state = await this.state();
    if (state !== this.#lastState) this.#emit("change", state);
    this.#lastState = state;
  }

  #scope() {
    return this.options.scope ?? this.#config?.service_worker_scope ?? recall().scope ?? "/";
  }

  /** The registration of our worker, active. Never replaces a worker of the site that is not ours without being told to. */
  async #register(config) {
    const scope = new URL(this.#scope(), document.baseURI).href;
    const url = this.options.serviceWorkerUrl ?? config.urls?.service_worker ?? this.api.url("service-worker.js");
    const script = new URL(url, document.baseURI);
    const present = await navigator.serviceWorker.getRegistration(scope);
    if (present?.scope === scope && present.active) {
      const sameScript = new URL(present.active.scriptURL).pathname === script.pathname;
      const answers = sameScript || (await askWorker(present.active, { type: "webpush-kit:state" }));
      if (answers && !sameScript) return present; // the site's own worker imports ours
      if (!answers && !this.options.replaceServiceWorker) {
        throw new PushError(
          "service_worker_conflict",
          `${present.active.scriptURL} already serves ${scope}: let it importScripts("${script.pathname}"), or set replaceServiceWorker.`,
        );
      }
    }
    try {
      return await untilActive(await navigator.serviceWorker.register(trusted(script.href), { scope }));
    } catch (cause) {
      throw new PushError("service_worker_failed", cause.message, { cause });
    }
  }

  /** Tells the server, and then the worker. On "key_mismatch" with a subscription made anew, once. */
  async #post(registration, subscription, config, preferences, oldEndpoint) {
    const { subscriptionToken } = (await askWorker(registration.active, { type: "webpush-kit:state" })) ?? {};
    const post = (one) =>
      this.api.createSubscription(one, preferences, {
        subscriptionToken,
        oldEndpoint: oldEndpoint && oldEndpoint !== one.endpoint ? oldEndpoint : undefined,
      });
    let current = subscription;
    let answer = await post(current);
    if (answer.code === "key_mismatch") {
      await current.unsubscribe();
      current = await subscribeWith(registration, config.public_key);
      answer = await post(current);
    }
    if (!answer.success) throw failure(answer);
    await askWorker(registration.active, {
      type: "webpush-kit:configure",
      baseUrl: this.api.baseUrl,
      publicKey: config.public_key,
      subscriptionToken: answer.data.subscription_token,
      endpoint: current.endpoint,
      language: pageLanguage(),
    });
    this.#note(current, config);
    return answer.data;
  }

  async #remove(subscription) {
    const { worker, subscriptionToken } = await this.#token();
    const answer = await this.api.removeSubscription(subscription.endpoint, { subscriptionToken });
    await askWorker(worker, { type: "webpush-kit:configure", subscriptionToken: null, endpoint: null });
    return answer;
  }

  /** The worker, and the subscription token it keeps: what a browser without a session proves itself with. */
  async #token() {
    const worker = (await navigator.serviceWorker.getRegistration(this.#scope()))?.active;
    const { subscriptionToken } = (await askWorker(worker, { type: "webpush-kit:state" })) ?? {};
    return { worker, subscriptionToken };
  }

  async #forEndpoint(method, ...values) {
    const subscription = await this.subscription();
    if (!subscription) throw new PushError("not_subscribed", "This browser has no push subscription.");
    const { subscriptionToken } = await this.#token();
    const answer = await this.api[method](subscription.endpoint, ...values, { subscriptionToken });
    if (!answer.success) throw failure(answer);
    return answer.data;
  }

  #note(subscription, config) {
    const { user } = this.options;
    const { endpoint } = subscription;
    remember({ endpoint, key: config.public_key, user, scope: this.#scope(), checked: Date.now() });
  }

  #isFresh(known, subscription) {
    const key = this.options.publicKey ?? known.key;
    const unchanged = known.endpoint === subscription.endpoint && known.user === this.options.user && !known.detached;
    return unchanged && hasKey(subscription, key) && Date.now() - known.checked < REPAIR_EVERY;
  }
}

/**
 * The HTTP API. No method throws over an answer: each resolves to `{success, status, message, code, errors, data}`,
 * `data` being the JSON the server sent; without an answer `status` is 0 and `code` "network_error".
 *
 * Options: `baseUrl`; `csrfToken` (text or a function; else the meta tag, else the cookie `csrfCookie`, "csrftoken");
 * `headers` (an object, or a function that may be async: for `Authorization`); `credentials`, as fetch() has it.
 */
export class PushNotificationAPI {
  constructor(options = {}) {
    this.options = options;
    this.baseUrl = (options.baseUrl ?? metaContent("base") ?? "/api/v1/push/").replace(/\/*$/, "/");
  }

  /** Create or update: `subscription` is a PushSubscription or its JSON. */
  createSubscription(subscription, preferences, { oldEndpoint, subscriptionToken } = {}) {
    const body = {
      subscription: subscription.toJSON?.() ?? subscription,
      preferences,
      language: pageLanguage(),
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      old_endpoint: oldEndpoint,
    };
    return this.makeRequest("subscribe", { method: "POST", body: JSON.stringify(body), subscriptionToken });
  }

  removeSubscription(endpoint, { subscriptionToken } = {}) {
    return this.makeRequest("unsubscribe", { method: "POST", body: JSON.stringify({ endpoint }), subscriptionToken });
  }

  getPreferences(endpoint, { subscriptionToken } = {}) {
    return this.makeRequest(`preferences?endpoint=${encodeURIComponent(endpoint)}`, { subscriptionToken });
  }

  updatePreferences(endpoint, preferences, { subscriptionToken } = {}) {
    const body = JSON.stringify({ endpoint, preferences });
    return this.makeRequest("preferences", { method: "PUT", body, subscriptionToken });
  }

  sendTestNotification(endpoint, { subscriptionToken } = {}) {
    return this.makeRequest("test", { method: "POST", body: JSON.stringify({ endpoint }), subscriptionToken });
  }

  getConfig() {
    return this.makeRequest("config");
  }

  /** The absolute URL of one of the API's paths: "subscribe", and "/push/subscribe" alike. */
  url(path) {
    return new URL(path.replace(/^\/?(push\/)?/, ""), new URL(this.baseUrl, globalThis.document?.baseURI)).href;
  }

  /** One request. `init` is fetch()'s, and may hold a `subscriptionToken`. */
  async makeRequest(path, { subscriptionToken, ...init } = {}) {
    try {
      const url = this.url(path);
      const response = await (this.options.fetch ?? fetch)(url, {
        credentials: this.options.credentials ?? "same-origin",
        signal: AbortSignal.timeout?.(REQUEST_PATIENCE),
        ...init,
        headers: { ...(await this.#headers(url, init, subscriptionToken)), ...init.headers },
      });
      const data = await response.json().catch(() => ({}));
      return {
        success: response.ok && data.success !== false,
        status: response.status,
        message: data.message ?? (response.ok ? "" : response.statusText),
        code: data.code ?? (response.ok ? "" : `http_${response.status}`),
        errors: data.errors ?? {},
        data,
      };
    } catch (error) {
      return { success: false, status: 0, message: error.message, code: "network_error", errors: {}, data: {} };
    }
  }

  async #headers(url, init, subscriptionToken) {
    const { headers } = this.options;
    const all = { Accept: "application/json", ...(typeof headers === "function" ? await headers() : headers) };
    if (init.body) all["Content-Type"] = "application/json";
    if (subscriptionToken) all["X-Subscription-Token"] = subscriptionToken;
    const token = init.method && init.method !== "GET" ? this.#csrfToken(url) : "";
    if (token) all["X-CSRFToken"] = token;
    return all;
  }

  /** One that the page found by itself goes to the page's own origin only. */
  #csrfToken(url) {
    const { csrfToken, csrfCookie = "csrftoken" } = this.options;
    if (csrfToken) return typeof csrfToken === "function" ? csrfToken() : csrfToken;
    if (new URL(url).origin !== globalThis.location?.origin) return "";
    const cookies = document.cookie.split("; ").map((cookie) => cookie.split("="));
    return metaContent("csrf") ?? decodeURIComponent(cookies.find(([name]) => name === csrfCookie)?.[1] ?? "");
  }
}

/** For pages that subscribe by themselves and only want the server told. */
export class PushNotificationIntegration {
  /** The client to use; by default the one of the page's manager. */
  static api = null;

  /** Resolves to `{success, error}`; never throws. */
  static async setupSubscription(subscription, preferences) {
    const subscriptionData = {
      endpoint: subscription.endpoint,
      expirationTime: subscription.expirationTime ?? null,
      keys: {
        p256dh: arrayBufferToBase64(subscription.getKey("p256dh")),
        auth: arrayBufferToBase64(subscription.getKey("auth")),
      },
    };
    const api = this.api ?? shared.manager?.api ?? new PushNotificationAPI();
    const result = await api.createSubscription(subscriptionData, preferences);
    return { success: result.success, error: result.message };
  }
}

/** Base64url without padding, as PushSubscription.toJSON() has it. */
export function arrayBufferToBase64(buffer) {
  const text = btoa(String.fromCharCode(...new Uint8Array(buffer)));
  return text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** The bytes of base64url or base64 text: what `applicationServerKey` takes. */
export function base64ToUint8Array(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
}

/** Whether this browser, as it runs now, can do push at all. */
export function isSupported() {
  return ["Notification", "PushManager"].every((name) => name in globalThis) && Boolean(navigator.serviceWorker);
}

/** iOS and iPadOS know push only for sites on the home screen: true in their tabs. */
export function needsInstall() {
  const { userAgent = "", platform = "", maxTouchPoints = 0, standalone = false } = globalThis.navigator ?? {};
  const isIos = /iPhone|iPad|iPod/.test(userAgent) || (platform === "MacIntel" && maxTouchPoints > 1);
  const installed = standalone || Boolean(globalThis.matchMedia?.("(display-mode: standalone)").matches);
  return isIos && !installed && !isSupported();
}

/** The present subscription when it was made with this key, else a new one. */
async function subscribeWith(registration, publicKey) {
  const present = await registration.pushManager.getSubscription();
  if (present && hasKey(present, publicKey)) return present;
  await present?.unsubscribe();
  const options = { userVisibleOnly: true, applicationServerKey: base64ToUint8Array(publicKey) };
  try {
    return await registration.pushManager.subscribe(options);
  } catch (cause) {
    const code = cause.name === "NotAllowedError" ? "denied" : "push_service_unavailable";
    throw new PushError(code, cause.message, { cause });
  }
}

/** Browsers that do not tell the key get the benefit of the doubt. */
function hasKey(subscription, publicKey) {
  const key = subscription.options?.applicationServerKey;
  return !key || !publicKey || arrayBufferToBase64(key) === publicKey.replace(/=+$/, "");
}

let scriptPolicy = null;

/**
 * The URL of a worker's script in the form that `require-trusted-types-for 'script'` asks for. Where the page does not
 * allow our policy it stays text, which a default policy of the page may let pass. The policy checks nothing: nobody
 * else can use it, and browsers take workers of the page's own origin only.
 */
function trusted(url) {
  try {
    scriptPolicy ??= globalThis.trustedTypes?.createPolicy("webpush-kit", { createScriptURL: (text) => text });
  } catch {
    return url;
  }
  return scriptPolicy?.createScriptURL(url) ?? url;
}

async function untilActive(registration) {
  const coming = registration.installing ?? registration.waiting;
  if (!registration.active && coming) {
    await new Promise((resolve, reject) => {
      coming.addEventListener("statechange", () => {
        if (coming.state === "activated") resolve();
        if (coming.state === "redundant") reject(new Error("The service worker could not be installed."));
      });
    });
  }
  return registration;
}

/** The worker's answer to a message; null when it is not ours, or gives none in time. */
function askWorker(worker, message) {
  if (!worker) return Promise.resolve(null);
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, WORKER_PATIENCE, null);
    port1.onmessage = ({ data }) => {
      clearTimeout(timer);
      resolve(data);
    };
    worker.postMessage(message, [port2]);
  }).finally(() => port1.close());
}

function failure({ code, message, status, errors }) {
  return new PushError(code || "failed", message, { status, errors });
}

/** The language this site speaks to the user, else the browser's. */
function pageLanguage() {
  return globalThis.document?.documentElement.lang || globalThis.navigator?.language || "";
}

function metaContent(name) {
  return globalThis.document?.querySelector(`meta[name="webpush-kit-${name}"]`)?.content || undefined;
}

/** What this page knew at its last visit; nothing where storage is closed to us. */
function recall() {
  try {
    return JSON.parse(localStorage.getItem(MEMORY)) ?? {};
  } catch {
    return {};
  }
}

function remember(known) {
  try {
    localStorage.setItem(MEMORY, JSON.stringify(known));
  } catch {
    // Then each page load asks the server again.
  }
}
