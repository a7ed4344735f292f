/**
 * django-webpush-kit: push subscriptions of a page. An ES module without dependencies or build step.
 *
 *   import { createPush } from "django-webpush-kit"; // or the URL of this file
 *   const push = createPush();
 *   button.addEventListener("click", () => push.subscribe());
 *
 * Options that you do not give are read from the head of the page: `<meta name="webpush-kit-base"
 * content="/api/v1/push/">`, and likewise `webpush-kit-csrf`, `webpush-kit-key` (the VAPID public key),
 * `webpush-kit-scope` (of the service worker) and `webpush-kit-user` (a string, different for each signed-in user).
 * Importing this file has no side effects and works on a server, too. It uses nothing inline, so a strict CSP only has
 * to allow this file.
 */

/**
 * Whether this browser receives notifications, or why it cannot. "storage-blocked": cookies and site data are blocked;
 * "conflict": a service worker that is not ours has replaced ours.
 * @typedef {"unsupported" | "insecure" | "framed" | "needs-install" | "storage-blocked" | "denied" | "conflict" | "off"
 *   | "on"} PushState
 */

/**
 * @typedef {object} QuietHours
 * @property {boolean} enabled
 * @property {string} [start] such as "22:00"; required if enabled
 * @property {string} [end]
 * @property {string} [timezone] such as "Europe/Berlin"
 */

/** @typedef {{categories?: Record<string, boolean>, quiet_hours?: QuietHours, [name: string]: unknown}} Preferences */

/**
 * The response of `config`.
 * @typedef {object} PushConfig
 * @property {boolean} success
 * @property {string} public_key
 * @property {Record<string, {label: string, default: boolean, description?: string, [name: string]: unknown}>} types
 * @property {Partial<Record<"subscribe" | "unsubscribe" | "preferences" | "test" | "events" | "service_worker", string>>} urls
 * @property {string} [service_worker_scope]
 * @property {string} [user] mark of the signed-in user, "" if nobody is signed in
 * @property {boolean} [declarative] whether browsers can show the messages without a service worker
 */

/** @typedef {number | string} Identifier a primary key: a number, or text such as a UUID */

/** @typedef {{success: boolean, subscription_id: Identifier, subscription_token?: string, user?: string}} SubscriptionAnswer */

/**
 * What each method of the API client resolves to. `status` is the HTTP status, or 0 without a response.
 * @template [Data=Record<string, any>]
 * @typedef {object} APIResponse
 * @property {boolean} success
 * @property {number} status
 * @property {string} message
 * @property {string} code
 * @property {Record<string, string[]>} errors
 * @property {Data} data
 */

/**
 * @typedef {object} APIOptions
 * @property {string} [baseUrl]
 * @property {string | (() => string)} [csrfToken]
 * @property {string} [csrfCookie] default: "csrftoken"
 * @property {Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>)} [headers]
 * @property {RequestCredentials} [credentials]
 * @property {typeof fetch} [fetch]
 */

/**
 * An API client: PushNotificationAPI, MockPushNotificationAPI, or one of your own.
 * @typedef {Pick<PushNotificationAPI, "baseUrl" | "url" | "createSubscription" | "removeSubscription" | "getPreferences"
 *   | "updatePreferences" | "sendTestNotification" | "getConfig" | "makeRequest">} PushAPI
 */

/**
 * @typedef {object} ManagerOptions
 * @property {PushAPI} [api]
 * @property {string} [publicKey]
 * @property {string | (() => string | undefined)} [user] different for each signed-in user, "" if nobody is signed in
 * @property {string} [scope] of the service worker; default: from the server
 * @property {string} [serviceWorkerUrl]
 * @property {boolean} [replaceServiceWorker] replace a service worker that is not ours
 * @property {boolean} [replaceSubscription] end a subscription that another push provider created with your service worker
 * @property {boolean} [repair] false: createPush() does not repair the subscription
 */

/** @typedef {APIOptions & ManagerOptions} PushOptions */

/** @typedef {{subscriptionToken?: string}} TokenOptions */

/** @typedef {Omit<RequestInit, "headers"> & {headers?: Record<string, string>} & TokenOptions} RequestOptions */

/**
 * The service worker's message about a notification.
 * @typedef {object} NotificationNews
 * @property {"webpush-kit:shown" | "webpush-kit:clicked"} type
 * @property {string} id
 * @property {string} title
 * @property {Record<string, unknown> | null} data
 * @property {string} url
 * @property {string} action
 */

/**
 * A click will navigate this page. Call `preventDefault()` synchronously if your router navigates instead.
 * @typedef {{url: string, preventDefault: () => void}} PushNavigation
 */

/**
 * @typedef {object} PushEvents
 * @property {PushState} change
 * @property {PushError} error
 * @property {NotificationNews} shown
 * @property {NotificationNews} clicked
 * @property {PushNavigation} navigate
 */

/**
 * The stored state of the browser's subscription. `user` is its owner, `asked` the signed-in user at the last request
 * to the server.
 * @typedef {object} Memory
 * @property {string} [endpoint]
 * @property {string} [key]
 * @property {string} [user]
 * @property {string} [asked]
 * @property {string} [scope]
 * @property {number} [checked] milliseconds since the epoch
 * @property {boolean} [detached]
 * @property {string} [token] the subscription token, where no worker can keep it
 */

/** @typedef {{registration: ServiceWorkerRegistration, subscription: PushSubscription, known: Memory, isMoved: boolean}} Found */

const REQUEST_TIMEOUT_MS = 15000;
const WORKER_TIMEOUT_MS = 5000; // for the answer of a service worker of ours to a message; phones start it slowly
const LOCK_TIMEOUT_MS = 30000; // how long a change waits for one in another tab
const CHECK_INTERVAL_MS = 12 * 60 * 60 * 1000; // between two questions to the server while nothing changes
const MEMORY_KEY = "webpush-kit"; // in localStorage, followed by the API's URL

/**
 * The codes of PushErrors created in this file, with their default messages. Other codes come from the server. Codes
 * are stable; messages may change.
 */
export const PUSH_ERRORS = Object.freeze({
  unsupported: "This browser cannot receive notifications.",
  insecure: "Open this site over https to receive notifications.",
  framed: "Open this page in a tab of its own to receive notifications.",
  needs_install: "Add this site to your home screen to receive notifications.",
  storage_blocked: "Allow cookies for this site to receive notifications.",
  denied: "Blocked. Allow notifications for this site in your browser's settings.",
  dismissed: "Try again, and choose “Allow”.",
  push_service_unavailable:
    "The browser's push service cannot be reached. Check your connection, and leave private browsing.",
  service_worker_failed: "The service worker could not be installed.",
  service_worker_conflict: "Another service worker has taken over this site. It must import ours.",
  subscription_conflict: "Another provider has subscribed this service worker.",
  not_configured: "The server has no VAPID key.",
  invalid_key: "The VAPID public key is malformed.",
  not_subscribed: "This browser has no subscription.",
  network_error: "The server cannot be reached. Check your connection.",
  failed: "Something went wrong.",
});

/** An error with a stable `code`: one of PUSH_ERRORS, or the code of the server's response. */
export class PushError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {{status?: number, errors?: Record<string, string[]>, cause?: unknown}} [details]
   */
  constructor(code, message, { status = 0, errors = {}, cause } = {}) {
    super(message || /** @type {Record<string, string>} */ (PUSH_ERRORS)[code] || code, { cause });
    this.name = "PushError";
    this.code = code;
    this.status = status;
    this.errors = errors;
  }
}

/**
 * Create an API client and a manager, and repair the subscription in the background. The first manager of a page is
 * also used by PushNotificationIntegration and the elements.
 * @param {PushOptions} [options]
 */
export function createPush(options = {}) {
  const manager = new PushNotificationManager(options);
  shared().manager ??= manager;
  if (options.repair !== false) manager.repair().catch((error) => manager.report(error));
  return manager;
}

/**
 * Return the page's first manager. Creates it if necessary.
 * @returns {PushNotificationManager}
 */
export function defaultPush() {
  return shared().manager ?? createPush();
}

/**
 * Stored on `globalThis`, because a page may load this file under two URLs (with and without a hash in its name).
 * Created on first use, so that importing this file has no side effects.
 * @returns {{manager: PushNotificationManager | null, answered: WeakSet<Event>}}
 */
function shared() {
  /** @type {any} */
  const place = globalThis;
  return (place[Symbol.for("webpush-kit")] ??= { manager: null, answered: new WeakSet() });
}

/**
 * Subscribes this browser, and keeps its subscription consistent with the server.
 *
 * Events: "change" (the new PushState), "error" (a PushError of background work), "shown" and "clicked"
 * (NotificationNews from the service worker), "navigate" (a click leads this page to another URL: see PushNavigation).
 */
export class PushNotificationManager {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();
  /** @type {PushState | null} */
  #lastState = null;
  /** @type {PushConfig | null} */
  #config = null;
  /** @type {string | undefined} */
  #lastUser;
  /** @type {string | undefined} the script of a worker that has answered as ours does */
  #answering;

  /** @param {PushOptions} [options] */
  constructor(options = {}) {
    /** @type {PushOptions} */
    this.options = { publicKey: metaContent("key") || undefined, ...options };
    /** @type {PushAPI} */
    this.api = options.api ?? new PushNotificationAPI(options);
    this.#listen();
  }

  /** The mark of the signed-in user: "" if nobody is signed in, undefined if unknown. */
  get user() {
    const { user } = this.options;
    return resolved(user) ?? metaContent("user");
  }

  /**
   * Set the signed-in user after a login or logout without a page load. Ends the subscription of the previous user.
   * @param {string} user a string, different for each user; "" if nobody is signed in
   */
  async setUser(user) {
    this.options.user = user;
    this.#lastUser = user;
    return this.repair({ force: true });
  }

  /** @returns {Promise<PushState>} */
  async state() {
    const obstacle = findObstacle();
    if (obstacle) return /** @type {PushState} */ (obstacle.replace("_", "-"));
    if (Notification.permission === "denied") return "denied";
    try {
      const found = await this.#find();
      if (!found?.known.endpoint || found.known.detached) return "off";
      if (this.user && found.known.user && this.user !== found.known.user) return "off"; // someone else's
      return (await this.#isOwnWorker(found.registration)) ? "on" : "conflict";
    } catch (error) {
      if (/** @type {PushError} */ (error).code === "storage_blocked") return "storage-blocked";
      throw error;
    }
  }

  /**
   * The browser's PushSubscription, or null. Subscriptions of other push providers do not count.
   * @returns {Promise<PushSubscription | null>}
   */
  async subscription() {
    return (await this.#find())?.subscription ?? null;
  }

  /**
   * Ask for permission, subscribe, and inform the server. Call it in a click handler: browsers refuse to ask otherwise.
   * @param {Preferences} [preferences]
   * @returns {Promise<SubscriptionAnswer>} rejects with a PushError
   */
  async subscribe(preferences = {}) {
    const obstacle = findObstacle();
    if (obstacle) throw new PushError(obstacle);
    // do not await anything before this line, or browsers no longer treat it as part of the click
    const permission = await Notification.requestPermission();
    if (permission !== "granted") {
      await this.#emitIfChanged();
      throw new PushError(permission === "denied" ? "denied" : "dismissed");
    }
    try {
      return await this.#exclusively(() => this.#subscribe(preferences));
    } finally {
      await this.#emitIfChanged();
    }
  }

  /** End the subscription here and on the server. Without a network, the server notices it at the next delivery. */
  async unsubscribe() {
    await this.#exclusively(async () => {
      for (const found of [await this.#findHere(), await this.#findMoved()]) {
        if (!found) continue;
        await this.#remove(found);
        await found.subscription.unsubscribe();
      }
      this.#saveState({});
    });
    await this.#emitIfChanged();
  }

  /**
   * Await this before logging out. The server stops sending to this browser, which keeps its permission. The next
   * repair reconnects the same user (see `webpush-kit-user`); other users must subscribe.
   */
  async detach() {
    const found = await this.#find();
    if (!found) return;
    await this.#remove(found);
    this.#saveDetached(found.known);
    await this.#emitIfChanged();
  }

  /**
   * The stored preferences.
   * @returns {Promise<Preferences>}
   */
  async preferences() {
    return (await this.#call("getPreferences")).preferences;
  }

  /** @param {Preferences} preferences replace the stored ones */
  async updatePreferences(preferences) {
    return this.#call("updatePreferences", preferences);
  }

  async sendTestNotification() {
    return this.#call("sendTestNotification");
  }

  /**
   * Repair the subscription: subscribe again after a change of the VAPID key or scope, send an endpoint that the server
   * does not know, and end a subscription of another user. Never subscribes a browser that was not subscribed. Asks the
   * server at most every 12 hours while key and user stay the same, unless `force` is given.
   * @param {{force?: boolean}} [options]
   * @returns {Promise<"nothing" | "fresh" | "renewed" | "resent" | "ended">}
   */
  async repair({ force = false } = {}) {
    if (findObstacle() || Notification.permission !== "granted") return "nothing";
    const outcome = await this.#exclusively(() => this.#repair(force));
    await this.#emitIfChanged();
    return outcome;
  }

  /**
   * The server's `config` response, requested once.
   * @returns {Promise<PushConfig>}
   */
  async config() {
    if (!this.#config) {
      const { data } = successful(await this.api.getConfig());
      if (!data.public_key) throw new PushError("not_configured");
      this.#config = data;
    }
    return /** @type {PushConfig} */ (this.#config);
  }

  /**
   * Register a subscription that the page created with its own code and the server has accepted.
   * @param {PushSubscription} subscription
   * @param {SubscriptionAnswer} answer of the server
   */
  async adopt(subscription, answer) {
    const key = subscription.options?.applicationServerKey;
    const publicKey = key ? arrayBufferToBase64(key) : (this.options.publicKey ?? "");
    await this.#keep((await this.#registration())?.active, subscription, publicKey, answer);
    await this.#emitIfChanged();
  }

  /**
   * Call `listener(detail)` for each event with this name. Returns a function that removes the listener.
   * @template {keyof PushEvents} Name
   * @param {Name} name
   * @param {(detail: PushEvents[Name]) => void} listener
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Pass an error of background work to the listeners of "error".
   * @param {any} error
   */
  report(error) {
    this.#emit("error", error instanceof PushError ? error : new PushError("failed", error?.message, { cause: error }));
  }

  // --- Events --------------------------------------------------------------------------------------------------------

  /**
   * @template {keyof PushEvents} Name
   * @param {Name} name
   * @param {PushEvents[Name]} detail
   */
  #emit(name, detail) {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        // an error in one listener must not affect us or other listeners
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  async #emitIfChanged() {
    try {
      const state = await this.state();
      const isChange = state !== this.#lastState;
      this.#lastState = state;
      if (isChange) this.#emit("change", state);
    } catch (error) {
      this.report(error);
    }
  }

  #listen() {
    const { document, navigator } = globalThis;
    const workers = serviceWorkers();
    if (!document) return; // on a server, where `options.user` may not be called
    this.#lastUser = this.user;
    workers?.addEventListener("message", (event) => this.#onMessage(event));
    document.addEventListener("webpush-navigate", (event) => {
      const { url } = /** @type {CustomEvent<{url: string}>} */ (event).detail;
      this.#emit("navigate", { url, preventDefault: () => event.preventDefault() });
    });
    // a click may have opened this page before it could listen
    const hello = { type: "webpush-kit:hello", href: location.href };
    this.#registration().then(
      (registration) => registration?.active?.postMessage(hello),
      () => undefined,
    );
    const checkUser = () => this.#checkUser();
    const update = () => this.#emitIfChanged();
    workers?.addEventListener("controllerchange", update); // by a worker of another tool, or its successor
    // permission and subscription also change in the browser's settings and in other tabs
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") update().then(checkUser);
    });
    navigator.permissions
      ?.query({ name: "notifications" })
      .then((status) => status.addEventListener("change", update))
      .catch(() => undefined);
    // client-side navigation may change the user: Turbo replaces the meta tag, a router may change `options.user`
    const changes = { childList: true, subtree: true, attributes: true };
    if (document.head) new MutationObserver(checkUser).observe(document.head, changes);
    /** @type {any} */ (globalThis).navigation?.addEventListener("navigatesuccess", checkUser);
  }

  #checkUser() {
    const { user } = this;
    if (user === this.#lastUser) return;
    this.#lastUser = user;
    this.repair({ force: true }).catch((error) => this.report(error));
  }

  /** @param {MessageEvent} event */
  #onMessage(event) {
    const { data, ports } = event;
    if (data?.type === "webpush-kit:shown") this.#emit("shown", data);
    if (data?.type === "webpush-kit:clicked") this.#emit("clicked", data);
    const { answered } = shared();
    if (answered.has(event)) return; // by another manager of this page
    answered.add(event);
    if (data?.type === "webpush-kit:where") ports?.[0]?.postMessage({ href: location.href });
    if (data?.type === "webpush-kit:navigate") ports?.[0]?.postMessage({ isHandled: navigatePage(data) });
  }

  // --- Finding our subscription--------------------------------------------------------------------------------------

  /** @returns {string} the URL of the service worker's scope */
  #scope() {
    const said = this.options.scope ?? metaContent("scope") ?? this.#config?.service_worker_scope;
    return new URL(said ?? this.#loadState().scope ?? "/", document.baseURI).href;
  }

  #memoryKey() {
    return `${MEMORY_KEY} ${this.api.url("")} ${this.options.scope ?? ""}`;
  }

  /**
   * The state stored by this page. Empty if storage is blocked.
   * @returns {Memory}
   */
  #loadState() {
    try {
      return JSON.parse(/** @type {string} */ (localStorage.getItem(this.#memoryKey()))) ?? {};
    } catch {
      return {};
    }
  }

  /** @param {Memory} state */
  #saveState(state) {
    try {
      localStorage.setItem(this.#memoryKey(), JSON.stringify(state));
    } catch {
      // without storage, each page load asks the server again
    }
  }

  /**
   * Keep a subscription that the server has ended for the return of its owner.
   * @param {Memory} known
   */
  #saveDetached(known) {
    this.#saveState({ ...known, detached: true, token: "", user: known.user || this.user, scope: this.#scope() });
  }

  /**
   * The registration with exactly our scope, or what stands in for it; getRegistration() may return one with a wider
   * scope.
   * @returns {Promise<ServiceWorkerRegistration | null>}
   */
  async #registration() {
    const scope = this.#scope();
    const found = await registrations((workers) => workers.getRegistration(scope));
    return found?.scope === scope ? found : withoutWorker(scope);
  }

  /**
   * Our subscription and its stored state, in our scope or in a previous one.
   * @returns {Promise<Found | null>}
   */
  async #find() {
    return (await this.#findHere()) ?? (await this.#findMoved());
  }

  /** @returns {Promise<Found | null>} */
  async #findHere() {
    const registration = await this.#registration();
    const subscription = await registration?.pushManager.getSubscription();
    if (!registration || !subscription) return null;
    const known = await this.#known(registration);
    const isOwn = known.endpoint === subscription.endpoint || this.#hasOwnKey(subscription, known);
    return isOwn ? { registration, subscription, known, isMoved: false } : null;
  }

  /**
   * Our subscription in a previous scope, with our key and our API.
   * @returns {Promise<Found | null>}
   */
  async #findMoved() {
    const scope = this.#scope();
    const all = (await registrations((workers) => workers.getRegistrations?.())) ?? [];
    for (const registration of all) {
      const isNested = scope.startsWith(registration.scope) || registration.scope.startsWith(scope);
      if (!isNested || registration.scope === scope) continue;
      const subscription = await registration.pushManager.getSubscription();
      if (!subscription?.options?.applicationServerKey) continue;
      const told = await this.#told(registration);
      const known = { ...this.#loadState(), ...told };
      if (told && this.#hasOwnKey(subscription, known)) return { registration, subscription, known, isMoved: true };
    }
    return null;
  }

  /**
   * What the worker has stored about a subscription at our API, or null.
   * @param {ServiceWorkerRegistration} registration
   * @returns {Promise<Memory | null>}
   */
  async #told(registration) {
    const { endpoint, publicKey: key, baseUrl } = (await askState(registration)) ?? {};
    const isOwn = endpoint && baseUrl && new URL(baseUrl, document.baseURI).href === this.api.url("");
    return isOwn ? { endpoint, key } : null;
  }

  /**
   * The state stored by this page, else by the worker. Empty if neither has one.
   * @param {ServiceWorkerRegistration} registration
   * @returns {Promise<Memory>}
   */
  async #known(registration) {
    const state = this.#loadState();
    if (state.endpoint || state.detached) return state;
    return (await this.#told(registration)) ?? {};
  }

  /**
   * If the browser does not reveal the key, assume that it matches.
   * @param {PushSubscription} subscription
   * @param {Memory} known
   */
  #hasOwnKey(subscription, known) {
    const keys = [this.options.publicKey, this.#config?.public_key, known.key];
    return !subscription.options?.applicationServerKey || keys.some((key) => key && hasKey(subscription, key));
  }

  /**
   * Whether the worker is ours: our script, or a worker of the site that imports it and answers.
   * @param {ServiceWorkerRegistration} registration
   */
  async #isOwnWorker({ active }) {
    if (!active || this.#isOwnScript(active)) return true;
    if (this.#answering !== active.scriptURL && !(await askState({ active }))) return false;
    this.#answering = active.scriptURL;
    return true;
  }

  /** @param {ServiceWorker | null | undefined} worker */
  #isOwnScript(worker) {
    return (
      Boolean(worker) && new URL(/** @type {ServiceWorker} */ (worker).scriptURL).pathname === this.#script().pathname
    );
  }

  #script() {
    const url =
      this.options.serviceWorkerUrl ?? this.#config?.urls?.service_worker ?? this.api.url("service-worker.js");
    return new URL(url, document.baseURI);
  }

  // --- Changes: one at a time, in all tabs --------------------------------------------------------------------------

  /**
   * @template T
   * @param {() => Promise<T>} task
   * @returns {Promise<T>}
   */
  async #exclusively(task) {
    let isStarted = false;
    const run = () => {
      isStarted = true;
      return task();
    };
    try {
      const signal = AbortSignal.timeout?.(LOCK_TIMEOUT_MS);
      return await navigator.locks.request(`${MEMORY_KEY} ${this.#scope()}`, { signal }, run);
    } catch (error) {
      if (isStarted) throw error;
      return run(); // no locks here, or another tab hangs
    }
  }

  /** @param {Preferences} preferences */
  async #subscribe(preferences) {
    const config = await this.config();
    const before = await this.#registration();
    const present = await before?.pushManager.getSubscription();
    const registration = await this.#register();
    const moved = await this.#findMoved();
    const subscription = await this.#subscribeTo(registration, config, before);
    let answer;
    try {
      answer = await this.#post(registration, subscription, config, preferences, moved?.subscription.endpoint);
    } catch (error) {
      // a subscription that the server does not know would look "on" but receive nothing
      if (!present) await subscription.unsubscribe();
      throw error;
    }
    if (moved) await this.#endMoved(moved);
    return answer;
  }

  /**
   * @param {boolean} force
   * @returns {Promise<"nothing" | "fresh" | "renewed" | "resent" | "ended">}
   */
  async #repair(force) {
    const found = await this.#find();
    if (!found) return "nothing";
    const { subscription, known, isMoved } = found;
    if (force || this.user === undefined) this.#config = null;
    const user = this.user ?? (await this.config()).user;
    const isSameUser = Boolean(known.user) && known.user === user;
    if (known.detached && !isSameUser) return "nothing";
    if (!isMoved && !this.options.replaceServiceWorker && !(await this.#isOwnWorker(found.registration))) {
      throw conflict(found.registration, this.#script());
    }
    if (!force && !isMoved && this.#isFresh(known, subscription, user)) return "fresh";

    const config = await this.config();
    const registration = await this.#register();
    const isReplaced = isMoved || !hasKey(subscription, config.public_key);
    if (!known.detached) {
      const subscriptionToken = await this.#token(found.registration);
      const answer = await this.api.getPreferences(subscription.endpoint, { subscriptionToken });
      const isSignedOut = [401, 403].includes(answer.status);
      if (!isSignedOut && answer.status !== 404) successful(answer);
      const isOthers = answer.code === "owner_changed" || (answer.status === 404 && !isSameUser);
      if (isOthers) return this.#leave(found);
      if (isSignedOut && !isReplaced) {
        if (known.endpoint) this.#saveState({ ...known, asked: user, checked: Date.now() });
        return "nothing";
      }
      if (answer.success && !isReplaced) {
        await this.#keep(registration.active, subscription, config.public_key, null, user || known.user, user);
        return "fresh";
      }
      if (!known.endpoint) return "nothing"; // never ours as far as anybody knows
    }
    const current = await this.#subscribeTo(registration, config);
    await this.#post(registration, current, config, undefined, known.endpoint ?? subscription.endpoint);
    if (isMoved) await this.#endMoved(found);
    return isReplaced ? "renewed" : "resent";
  }

  /**
   * Another user is signed in: end the subscription of the previous user. If the server confirms it, the browser's
   * subscription is kept for the return of that user; otherwise it is ended here, and the server notices later.
   * @param {Found} found
   * @returns {Promise<"nothing" | "ended">}
   */
  async #leave(found) {
    const { subscription, known } = found;
    if (!known.endpoint) return "nothing";
    const answer = await this.#remove(found);
    if (!answer.success || !known.user) await subscription.unsubscribe();
    if (known.user) this.#saveDetached(known);
    else this.#saveState({});
    return "ended";
  }

  /** @param {Found} found in a scope that we no longer use */
  async #endMoved({ registration, subscription }) {
    await subscription.unsubscribe();
    await tellEnd(registration);
    if (this.#isOwnScript(registration.active)) await registration.unregister?.();
  }

  /**
   * The registration of our active worker. Another worker is only replaced with `replaceServiceWorker`. Where no worker
   * can be installed, declarative messages do without.
   * @returns {Promise<ServiceWorkerRegistration>}
   */
  async #register() {
    const scope = this.#scope();
    const script = this.#script();
    const present = await this.#registration();
    if (present?.active && !this.#isOwnScript(present.active)) {
      const answer = await askState(present);
      if (answer?.isImported) return present; // the site's own worker imports ours
      if (!answer && !this.options.replaceServiceWorker) throw conflict(present, script);
    }
    try {
      return await untilActive(await serviceWorkers().register(trusted(script.href), { scope }));
    } catch (cause) {
      const standIn = this.#config?.declarative && withoutWorker(scope);
      if (standIn) return standIn;
      throw new PushError("service_worker_failed", `${script} ${/** @type {Error} */ (cause).message}`, { cause });
    }
  }

  /**
   * The current subscription if it was created with this key, else a new one.
   * @param {ServiceWorkerRegistration} registration
   * @param {PushConfig} config
   * @param {ServiceWorkerRegistration | null} before the registration as it was found
   * @returns {Promise<PushSubscription>}
   */
  async #subscribeTo(registration, config, before = registration) {
    const present = await registration.pushManager.getSubscription();
    if (present && hasKey(present, config.public_key)) return present;
    if (present) {
      const known = await this.#known(registration);
      const isOwn = known.endpoint === present.endpoint || known.detached || this.#hasOwnKey(present, known);
      const isShared = (before && !before.active) || !this.#isOwnScript(registration.active);
      const mayEnd = isOwn || !isShared || this.options.replaceSubscription;
      if (!mayEnd && !(await this.api.getPreferences(present.endpoint)).success) {
        throw new PushError("subscription_conflict");
      }
      await present.unsubscribe();
    }
    return subscribeWith(registration, config.public_key);
  }

  /**
   * Inform the server, then the worker. After "key_mismatch", try once with a new subscription.
   * @param {ServiceWorkerRegistration} registration
   * @param {PushSubscription} subscription
   * @param {PushConfig} config
   * @param {Preferences | undefined} preferences
   * @param {string | undefined} oldEndpoint
   * @returns {Promise<SubscriptionAnswer>}
   */
  async #post(registration, subscription, config, preferences, oldEndpoint) {
    const subscriptionToken = await this.#token(registration);
    const post = (/** @type {PushSubscription} */ one) =>
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
    const { data } = successful(answer);
    await this.#keep(registration.active, current, config.public_key, data);
    return data;
  }

  /**
   * The subscription token, which authenticates a browser without a session. The worker keeps it, if there is one.
   * @param {ServiceWorkerRegistration} registration
   * @returns {Promise<string | undefined>}
   */
  async #token(registration) {
    return (await askState(registration))?.subscriptionToken ?? this.#loadState().token;
  }

  /**
   * Store a subscription that the server knows: in the worker, if there is one, and for this page.
   * @param {ServiceWorker | null | undefined} worker
   * @param {PushSubscription} subscription
   * @param {string} publicKey
   * @param {SubscriptionAnswer | null} answer of the server, if it has just been told
   * @param {string | undefined} [user] the owner
   * @param {string | undefined} [asked] who is signed in
   */
  async #keep(worker, { endpoint }, publicKey, answer, user = this.user ?? answer?.user, asked = user) {
    const subscriptionToken = answer?.subscription_token;
    const { baseUrl } = this.api;
    const language = pageLanguage();
    const type = "webpush-kit:configure";
    await askWorker(worker, { type, baseUrl, publicKey, subscriptionToken, endpoint, language });
    const token = answer && worker ? "" : (subscriptionToken ?? this.#loadState().token);
    const scope = this.#scope();
    this.#saveState({ endpoint, key: publicKey, user, asked, token, scope, checked: Date.now() });
  }

  /** @param {Found} found */
  async #remove({ registration, subscription }) {
    const subscriptionToken = await this.#token(registration);
    const answer = await this.api.removeSubscription(subscription.endpoint, { subscriptionToken });
    await tellEnd(registration);
    return answer;
  }

  /**
   * The data of an API method's answer about our subscription.
   * @param {"getPreferences" | "updatePreferences" | "sendTestNotification"} method
   * @param {...Preferences} given between the endpoint and the options
   * @returns {Promise<Record<string, any>>}
   */
  async #call(method, ...given) {
    const found = await this.#find();
    if (!found) throw new PushError("not_subscribed");
    const subscriptionToken = await this.#token(found.registration);
    const api = /** @type {any} */ (this.api); // the methods differ in what is given
    return successful(await api[method](found.subscription.endpoint, ...given, { subscriptionToken })).data;
  }

  /**
   * Whether the state is recent enough, so that the server need not be asked.
   * @param {Memory} known
   * @param {PushSubscription} subscription
   * @param {string | undefined} user who is signed in
   */
  #isFresh(known, subscription, user) {
    const isUnchanged =
      !known.detached && known.endpoint === subscription.endpoint && user !== undefined && known.asked === user;
    return (
      isUnchanged &&
      hasKey(subscription, this.options.publicKey ?? known.key) &&
      Date.now() - (known.checked ?? 0) < CHECK_INTERVAL_MS
    );
  }
}

/**
 * The HTTP API. Methods never throw because of a response: they resolve to an APIResponse, whose `data` is the JSON of
 * the server. Without a response, `status` is 0 and `code` is "network_error".
 *
 * Options: `baseUrl`; `csrfToken` (text or a function; else the meta tag, else the cookie `csrfCookie`, "csrftoken");
 * `headers` (an object, or a function that may be async: for `Authorization`); `credentials`: see fetch().
 */
export class PushNotificationAPI {
  /** @param {APIOptions} [options] */
  constructor(options = {}) {
    this.options = options;
    this.baseUrl = (options.baseUrl ?? (metaContent("base") || "/api/v1/push/")).replace(/\/*$/, "/");
  }

  /**
   * Create or update.
   * @param {PushSubscription | PushSubscriptionJSON} subscription
   * @param {Preferences} [preferences]
   * @param {{oldEndpoint?: string} & TokenOptions} [options]
   * @returns {Promise<APIResponse<SubscriptionAnswer>>}
   */
  createSubscription(subscription, preferences, { oldEndpoint, ...options } = {}) {
    const body = {
      subscription,
      preferences,
      language: pageLanguage(),
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      old_endpoint: oldEndpoint,
    };
    return this.#send("subscribe", body, options);
  }

  /**
   * @param {string} endpoint
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse>}
   */
  removeSubscription(endpoint, options) {
    return this.#send("unsubscribe", { endpoint }, options);
  }

  /**
   * @param {string} endpoint
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse<{preferences: Preferences, user?: string}>>}
   */
  getPreferences(endpoint, options) {
    return this.makeRequest(`preferences?endpoint=${encodeURIComponent(endpoint)}`, options);
  }

  /**
   * @param {string} endpoint
   * @param {Preferences} preferences
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse>}
   */
  updatePreferences(endpoint, preferences, options) {
    return this.#send("preferences", { endpoint, preferences }, options, "PUT");
  }

  /**
   * @param {string} endpoint
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse>}
   */
  sendTestNotification(endpoint, options) {
    return this.#send("test", { endpoint }, options);
  }

  /**
   * @param {string} path
   * @param {Record<string, unknown>} body
   * @param {TokenOptions} [options]
   * @param {string} [method]
   */
  #send(path, body, options, method = "POST") {
    return this.makeRequest(path, { method, body: JSON.stringify(body), ...options });
  }

  /** @returns {Promise<APIResponse<PushConfig>>} */
  getConfig() {
    return this.makeRequest("config");
  }

  /**
   * The absolute URL of an API path, given as "subscribe" or "/push/subscribe".
   * @param {string} path
   * @returns {string}
   */
  url(path) {
    return new URL(path.replace(/^\/?(push\/)?/, ""), new URL(this.baseUrl, globalThis.document?.baseURI)).href;
  }

  /**
   * One request.
   * @param {string} path
   * @param {RequestOptions} [options] options of fetch(), and a `subscriptionToken`
   * @returns {Promise<APIResponse<any>>}
   */
  async makeRequest(path, { subscriptionToken, ...init } = {}) {
    try {
      const url = this.url(path);
      const response = await (this.options.fetch ?? fetch)(url, {
        credentials: this.options.credentials ?? "same-origin",
        signal: AbortSignal.timeout?.(REQUEST_TIMEOUT_MS),
        ...init,
        headers: { ...(await this.#headers(url, init, subscriptionToken)), ...init.headers },
      });
      // a page instead of JSON: the request has not reached the API, but a site that answers every path
      const data = await response.json().catch(() => ({ success: false }));
      const success = data.success ?? response.ok;
      const { status } = response;
      const { message = success ? "" : url, code = success ? "" : `http_${status}`, errors = {} } = data;
      return { success, status, message, code, errors, data };
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      return { success: false, status: 0, message, code: "network_error", errors: {}, data: {} };
    }
  }

  /**
   * @param {string} url
   * @param {RequestInit} init
   * @param {string | undefined} subscriptionToken
   */
  async #headers(url, init, subscriptionToken) {
    const { headers } = this.options;
    /** @type {Record<string, string>} */
    const all = { Accept: "application/json", ...(await resolved(headers)) };
    if (init.body) all["Content-Type"] = "application/json";
    if (subscriptionToken) all["X-Subscription-Token"] = subscriptionToken;
    const token = init.method && init.method !== "GET" ? this.#csrfToken(url) : "";
    if (token) all["X-CSRFToken"] = token;
    return all;
  }

  /**
   * A token found via meta tag or cookie is only sent to the page's own origin.
   * @param {string} url
   */
  #csrfToken(url) {
    const { csrfToken, csrfCookie = "csrftoken" } = this.options;
    if (csrfToken) return resolved(csrfToken);
    if (new URL(url).origin !== globalThis.location?.origin) return "";
    const cookies = document.cookie.split("; ").map((cookie) => cookie.split("="));
    return metaContent("csrf") || decodeURIComponent(cookies.find(([name]) => name === csrfCookie)?.[1] ?? "");
  }
}

/** For pages that subscribe with their own code and only need to inform the server. */
// biome-ignore lint/complexity/noStaticOnlyClass: part of the public API
export class PushNotificationIntegration {
  /**
   * The client to use. Default: the client of the page's manager.
   * @type {PushAPI | null}
   */
  static api = null;

  /**
   * Send a subscription to the server. Never throws.
   * @param {PushSubscription} subscription
   * @param {Preferences} [preferences]
   * @returns {Promise<{success: boolean, error: string}>}
   */
  static async setupSubscription(subscription, preferences) {
    const { endpoint, expirationTime = null } = subscription;
    const key = (/** @type {PushEncryptionKeyName} */ name) => arrayBufferToBase64(subscription.getKey(name));
    const subscriptionData = { endpoint, expirationTime, keys: { p256dh: key("p256dh"), auth: key("auth") } };
    const { manager } = shared();
    const api = PushNotificationIntegration.api ?? manager?.api ?? new PushNotificationAPI();
    const result = await api.createSubscription(subscriptionData, preferences);
    if (result.success && api === manager?.api) {
      await manager.adopt(subscription, result.data).catch((error) => manager.report(error));
    }
    return { success: result.success, error: result.message };
  }
}

/**
 * Base64url without padding, as in PushSubscription.toJSON().
 * @param {ArrayBuffer | null} buffer
 * @returns {string}
 */
export function arrayBufferToBase64(buffer) {
  const text = btoa(String.fromCharCode(...new Uint8Array(/** @type {ArrayBuffer} */ (buffer))));
  return text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/**
 * Decode base64url or base64 text to bytes, for `applicationServerKey`.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function base64ToUint8Array(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
}

/** Whether this browser supports push. */
export function isSupported() {
  const { Notification, PushManager, pushManager } = /** @type {any} */ (globalThis);
  return Boolean(Notification && PushManager && (pushManager ?? serviceWorkers()));
}

/** iOS and iPadOS support push only for sites on the home screen: true in a browser tab. */
export function needsInstall() {
  const { userAgent, platform, maxTouchPoints, standalone } = /** @type {any} */ (globalThis.navigator ?? {});
  const isIos = /iPhone|iPad|iPod/.test(userAgent) || (platform === "MacIntel" && maxTouchPoints > 1);
  const isInstalled = standalone || Boolean(globalThis.matchMedia?.("(display-mode: standalone)").matches);
  return isIos && !isInstalled && !isSupported();
}

/** Why this page can never subscribe, as a code of PUSH_ERRORS, or "". */
function findObstacle() {
  if (globalThis.isSecureContext === false) return "insecure";
  if (isFramed()) return "framed";
  if (serviceWorkers() === null) return "storage_blocked";
  if (isSupported()) return "";
  return needsInstall() ? "needs_install" : "unsupported";
}

/** Whether this page is in a sandbox, or in a frame of another site: browsers refuse notifications there. */
function isFramed() {
  try {
    return globalThis.origin === "null" || globalThis.top?.location.href === "";
  } catch {
    return true;
  }
}

/**
 * Undefined where the browser has none. Null where access throws: in a sandbox, and if cookies are blocked.
 * @returns {ServiceWorkerContainer}
 */
function serviceWorkers() {
  try {
    return globalThis.navigator?.serviceWorker;
  } catch {
    return /** @type {any} */ (null);
  }
}

/**
 * Resolves to the result of `ask`. Rejects with a PushError if cookies and site data are blocked.
 * @template T
 * @param {(workers: ServiceWorkerContainer) => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function registrations(ask) {
  const workers = serviceWorkers();
  try {
    return workers && (await ask(workers));
  } catch (cause) {
    throw new PushError("storage_blocked", "", { cause });
  }
}

/**
 * What stands in for a registration where there is no service worker: some browsers keep a subscription of the scope "/"
 * for the page itself, and show declarative messages without a worker. If a worker is installed there, it has the same
 * subscription. The subscription outlives it.
 * @param {string} scope
 * @returns {any}
 */
function withoutWorker(scope) {
  const { pushManager } = /** @type {any} */ (globalThis);
  return pushManager && new URL(scope).pathname === "/" ? { scope, pushManager } : null;
}

/**
 * @param {ServiceWorkerRegistration} registration
 * @param {string} publicKey
 */
async function subscribeWith(registration, publicKey) {
  try {
    const applicationServerKey = base64ToUint8Array(publicKey);
    return await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  } catch (cause) {
    /** @type {Record<string, string>} */
    const codes = {
      NotAllowedError: "denied",
      InvalidAccessError: "invalid_key",
      InvalidCharacterError: "invalid_key", // not base64url
    };
    throw new PushError(codes[/** @type {Error} */ (cause).name] ?? "push_service_unavailable", "", { cause });
  }
}

/**
 * If the browser does not reveal the key, assume that it matches.
 * @param {PushSubscription} subscription
 * @param {string | undefined} publicKey
 */
function hasKey(subscription, publicKey) {
  const key = subscription.options?.applicationServerKey;
  return !key || !publicKey || arrayBufferToBase64(key) === publicKey.replace(/=+$/, "");
}

/**
 * Navigate to the URL of a click, unless the site's router does. Returns false if the service worker must navigate.
 * @param {{url: string, isForced: boolean}} request
 */
function navigatePage({ url, isForced }) {
  const event = new CustomEvent("webpush-navigate", { cancelable: true, detail: { url } });
  if (!document.dispatchEvent(event)) return true;
  const [page, fragment] = url.split("#");
  const isFragment = fragment !== undefined && page === location.href.split("#")[0];
  const isOurs = new URL(url).origin === location.origin && (isForced || isFragment);
  if (isOurs) location.assign(url);
  return isOurs;
}

/** @type {any} */
let scriptPolicy = null;

/**
 * The URL of a worker's script as required by `require-trusted-types-for 'script'`. If the page does not allow our
 * policy, it stays a string, which a default policy of the page may accept. The policy checks nothing: no other code
 * can use it, and browsers accept only workers of the page's own origin.
 * @param {string} url
 * @returns {string}
 */
function trusted(url) {
  try {
    const rules = { createScriptURL: (/** @type {string} */ text) => text };
    scriptPolicy ??= /** @type {any} */ (globalThis).trustedTypes?.createPolicy("webpush-kit", rules);
    return scriptPolicy?.createScriptURL(url) ?? url;
  } catch {
    return url;
  }
}

/** @param {ServiceWorkerRegistration} registration */
async function untilActive(registration) {
  const coming = registration.installing ?? registration.waiting;
  if (!registration.active && coming) {
    await new Promise((resolve, reject) => {
      coming.addEventListener("statechange", () => {
        if (coming.state === "activated") resolve(undefined);
        if (coming.state === "redundant") reject(new PushError("service_worker_failed"));
      });
    });
  }
  return registration;
}

/**
 * Resolves to the worker's answer to a message, or to null if it is not ours or does not answer in time.
 * @param {ServiceWorker | null | undefined} worker
 * @param {Record<string, unknown>} message
 * @returns {Promise<Record<string, any> | null>}
 */
async function askWorker(worker, message) {
  if (!worker) return null;
  const { port1, port2 } = new MessageChannel();
  let timer;
  const answer = await new Promise((resolve) => {
    timer = setTimeout(resolve, WORKER_TIMEOUT_MS, null);
    port1.onmessage = ({ data }) => resolve(data);
    worker.postMessage(message, [port2]);
  });
  clearTimeout(timer);
  port1.close();
  return answer;
}

/**
 * What the worker has stored.
 * @param {{active: ServiceWorker | null}} registration
 */
function askState({ active }) {
  return askWorker(active, { type: "webpush-kit:state" });
}

/**
 * The subscription is no longer the worker's.
 * @param {ServiceWorkerRegistration} registration
 */
function tellEnd({ active }) {
  return askWorker(active, { type: "webpush-kit:configure", subscriptionToken: null, endpoint: null });
}

/**
 * Return the answer. Throws a PushError if it is not one of success.
 * @param {APIResponse<any>} answer
 */
function successful(answer) {
  const { success, code, message, status, errors } = answer;
  if (success) return answer;
  throw new PushError(code || "failed", code === "network_error" ? "" : message, { status, errors });
}

/**
 * @param {ServiceWorkerRegistration} registration
 * @param {URL} script
 */
function conflict({ active, scope }, script) {
  const fix = `let it importScripts("${script.pathname}"), or set replaceServiceWorker.`;
  return new PushError("service_worker_conflict", `${active?.scriptURL} serves ${scope}: ${fix}`);
}

/**
 * @template T
 * @param {T | (() => T)} given a value, or a function that returns it
 * @returns {T}
 */
function resolved(given) {
  return typeof given === "function" ? /** @type {any} */ (given)() : given;
}

/** The language of this page, else the language of the browser. */
function pageLanguage() {
  return globalThis.document?.documentElement.lang || globalThis.navigator?.language || "";
}

/**
 * @param {string} name
 * @returns {string | undefined} undefined if the head has no such tag
 */
function metaContent(name) {
  const tag = globalThis.document?.querySelector(`meta[name="webpush-kit-${name}"]`);
  return /** @type {HTMLMetaElement | null | undefined} */ (tag)?.content;
}
