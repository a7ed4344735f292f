/**
 * django-webpush-kit: push subscriptions from the page's side. An ES module without dependencies or build step.
 *
 *   import { createPush } from "django-webpush-kit"; // or the URL of this file
 *   const push = createPush();
 *   button.addEventListener("click", () => push.subscribe());
 *
 * Options that you do not give are read from the head of the page: `<meta name="webpush-kit-base"
 * content="/api/v1/push/">`, and likewise `webpush-kit-csrf`, `webpush-kit-key` (the VAPID public key),
 * `webpush-kit-scope` (of the service worker) and `webpush-kit-user` (text that differs from one signed-in user to the
 * next). Importing this file does nothing by itself and works on a server, too. Under a strict CSP only this file needs
 * to be allowed: nothing here is inline.
 */

/**
 * Whether this browser gets notifications, or what prevents it. "storage-blocked": cookies and site data are blocked;
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
 * The answer of `config`.
 * @typedef {object} PushConfig
 * @property {boolean} success
 * @property {string} public_key
 * @property {Record<string, {label: string, default: boolean, description?: string, [name: string]: unknown}>} types
 * @property {Partial<Record<"subscribe" | "unsubscribe" | "preferences" | "test" | "events" | "service_worker", string>>} urls
 * @property {string} [service_worker_scope]
 * @property {string} [user] mark of the user who is signed in now, "" for nobody
 */

/** @typedef {number | string} Identifier a primary key: a number, or text such as a UUID */

/** @typedef {{success: boolean, subscription_id: Identifier, subscription_token?: string, user?: string}} SubscriptionAnswer */

/**
 * What each method of the API client resolves to. `status` is the HTTP status, 0 without an answer.
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
 * @property {string | (() => string | undefined)} [user] differs from one signed-in user to the next, "" if nobody is
 * @property {string} [scope] of the service worker; default: what the server says
 * @property {string} [serviceWorkerUrl]
 * @property {boolean} [replaceServiceWorker] take the place of a service worker that is not ours
 * @property {boolean} [replaceSubscription] end a subscription that another provider made with your service worker
 * @property {boolean} [repair] false: createPush() does not repair by itself
 */

/** @typedef {APIOptions & ManagerOptions} PushOptions */

/** @typedef {{subscriptionToken?: string}} TokenOptions */

/** @typedef {Omit<RequestInit, "headers"> & {headers?: Record<string, string>} & TokenOptions} RequestOptions */

/**
 * What the service worker tells of a notification.
 * @typedef {object} NotificationNews
 * @property {"webpush-kit:shown" | "webpush-kit:clicked"} type
 * @property {string} id
 * @property {string} title
 * @property {Record<string, unknown> | null} data
 * @property {string} url
 * @property {string} action
 */

/**
 * A click is about to navigate this page. Call `preventDefault()` at once if your router takes over.
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
 * What this page remembers of the browser's subscription. `user` is whose it is, `asked` who was signed in when the
 * server was asked last.
 * @typedef {object} Memory
 * @property {string} [endpoint]
 * @property {string} [key]
 * @property {string} [user]
 * @property {string} [asked]
 * @property {string} [scope]
 * @property {number} [checked] milliseconds since the epoch
 * @property {boolean} [detached]
 */

/** @typedef {{registration: ServiceWorkerRegistration, subscription: PushSubscription, known: Memory, isMoved: boolean}} Found */

const REQUEST_TIMEOUT_MS = 15000;
const WORKER_TIMEOUT_MS = 2000; // for the answer of a service worker of ours to a message
const LOCK_TIMEOUT_MS = 30000; // how long a change waits for one in another tab
const CHECK_INTERVAL_MS = 12 * 60 * 60 * 1000; // between two questions to the server while nothing changes
const MEMORY_KEY = "webpush-kit"; // in localStorage, followed by the API's URL

/**
 * Every `code` of a PushError that this file makes, with the message it has unless the browser or the server said
 * more. Other codes are the server's. Codes are stable; messages are not.
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

/** An error with a stable `code`: one of PUSH_ERRORS, or what the server answered with. */
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
 * Make an API client and a manager for it, and repair the subscription in the background. The first manager made on a
 * page also serves PushNotificationIntegration and the elements.
 * @param {PushOptions} [options]
 */
export function createPush(options = {}) {
  const manager = new PushNotificationManager(options);
  shared().manager ??= manager;
  if (options.repair !== false) manager.repair().catch((error) => manager.report(error));
  return manager;
}

/**
 * The manager that createPush() made first on this page, made now if need be.
 * @returns {PushNotificationManager}
 */
export function defaultPush() {
  return shared().manager ?? createPush();
}

/**
 * On `globalThis`, because a page may load this file under two URLs (with and without a hash in its name). Made at the
 * first use, so that importing this file has no effect.
 * @returns {{manager: PushNotificationManager | null, answered: WeakSet<Event>}}
 */
function shared() {
  /** @type {any} */
  const place = globalThis;
  return (place[Symbol.for("webpush-kit")] ??= { manager: null, answered: new WeakSet() });
}

/**
 * Subscribes this browser and keeps its subscription in step with the server.
 *
 * Events: "change" (the new PushState), "error" (a PushError of background work), "shown" and "clicked" (NotificationNews
 * from the service worker), "navigate" (a click leads this page to another URL: see PushNavigation).
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
  /** @type {Map<string, boolean>} whether a worker is ours, by the URL of its script */
  #ownScripts = new Map();

  /** @param {PushOptions} [options] */
  constructor(options = {}) {
    /** @type {PushOptions} */
    this.options = { publicKey: metaContent("key") || undefined, ...options };
    /** @type {PushAPI} */
    this.api = options.api ?? new PushNotificationAPI(options);
    this.#lastUser = this.user;
    this.#listen();
  }

  /** The mark of the signed-in user: "" if nobody is signed in, undefined if the page does not say. */
  get user() {
    const { user } = this.options;
    return (typeof user === "function" ? user() : user) ?? metaContent("user");
  }

  /**
   * Say who is signed in now, after a sign-in or sign-out without a page load. Ends the subscription of the one before.
   * @param {string} user text that differs from one user to the next; "" for nobody
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
      if (error instanceof PushError && error.code === "storage_blocked") return "storage-blocked";
      throw error;
    }
  }

  /**
   * The browser's PushSubscription, or null. One that another provider made does not count.
   * @returns {Promise<PushSubscription | null>}
   */
  async subscription() {
    return (await this.#find())?.subscription ?? null;
  }

  /**
   * Ask for permission, subscribe and tell the server. Call it from a click: browsers refuse to ask otherwise.
   * @param {Preferences} [preferences]
   * @returns {Promise<SubscriptionAnswer>} rejects with a PushError
   */
  async subscribe(preferences = {}) {
    const obstacle = findObstacle();
    if (obstacle) throw new PushError(obstacle);
    // nothing may be awaited before this line: the click's permission to ask would be spent
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

  /** End the subscription here and on the server. Without a network the server learns of it at its next delivery. */
  async unsubscribe() {
    await this.#exclusively(async () => {
      const here = await this.#registration();
      for (const found of [here && (await this.#findIn(here)), await this.#findMoved()]) {
        if (!found) continue;
        await this.#remove(found);
        await found.subscription.unsubscribe();
      }
      this.#saveState({});
    });
    await this.#emitIfChanged();
  }

  /**
   * Await this before logging out: the server stops sending to this browser, the browser's permission stays. The same
   * user (see `webpush-kit-user`) is connected again by the next repair, anyone else only by subscribing.
   */
  async detach() {
    const found = await this.#find();
    if (!found) return;
    await this.#remove(found);
    this.#saveState({ ...found.known, detached: true, user: found.known.user || this.user, scope: this.#scope() });
    await this.#emitIfChanged();
  }

  /**
   * The stored preferences.
   * @returns {Promise<Preferences>}
   */
  async preferences() {
    const { data } = await this.#forEndpoint((endpoint, options) => this.api.getPreferences(endpoint, options));
    return data.preferences;
  }

  /** @param {Preferences} preferences replace the stored ones */
  async updatePreferences(preferences) {
    const call = /** @type {EndpointCall} */ (
      (endpoint, options) => this.api.updatePreferences(endpoint, preferences, options)
    );
    return (await this.#forEndpoint(call)).data;
  }

  async sendTestNotification() {
    return (await this.#forEndpoint((endpoint, options) => this.api.sendTestNotification(endpoint, options))).data;
  }

  /**
   * Bring a subscription back in step: a changed VAPID key or scope means subscribing anew, an endpoint that the server
   * has forgotten is sent again, and one that is another user's is ended. Subscribes nobody who was not subscribed. Asks
   * the server at most every 12 hours while key and user stay the same, unless `force` is given.
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
   * The server's `config` answer, asked for once.
   * @returns {Promise<PushConfig>}
   */
  async config() {
    if (!this.#config) {
      const answer = await this.api.getConfig();
      if (!answer.success) throw toPushError(answer);
      if (!answer.data.public_key) throw new PushError("not_configured");
      this.#config = answer.data;
    }
    return this.#config;
  }

  /**
   * Take a subscription that the page made by itself and the server has accepted for ours.
   * @param {PushSubscription} subscription
   * @param {SubscriptionAnswer} answer of the server
   */
  async adopt(subscription, answer) {
    const key = subscription.options?.applicationServerKey;
    const publicKey = key ? arrayBufferToBase64(key) : (this.options.publicKey ?? "");
    await this.#tellWorker((await this.#registration())?.active, subscription, publicKey, answer);
    this.#remember(subscription, publicKey, this.user ?? answer.user);
    await this.#emitIfChanged();
  }

  /**
   * Call `listener(detail)` at each event of that name; returns a function that ends it.
   * @template {keyof PushEvents} Name
   * @param {Name} name
   * @param {(detail: PushEvents[Name]) => void} listener
   */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name)?.add(listener);
    return () => void this.#listeners.get(name)?.delete(listener);
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
        // one listener's mistake is neither ours nor that of the other listeners
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
    if (!document || !workers) return;
    workers.addEventListener("message", (event) => this.#onMessage(event));
    document.addEventListener("webpush-navigate", (event) => {
      const { url } = /** @type {CustomEvent<{url: string}>} */ (event).detail;
      this.#emit("navigate", { url, preventDefault: () => event.preventDefault() });
    });
    // a click may have opened this page, and its news may have come before anybody listened
    const hello = { type: "webpush-kit:hello", href: location.href };
    this.#registration().then(
      (registration) => registration?.active?.postMessage(hello),
      () => undefined,
    );
    // permission and subscription also change in the browser's settings and in other tabs
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#emitIfChanged().then(() => this.#checkUser());
    });
    navigator.permissions
      ?.query({ name: "notifications" })
      .then((status) => status.addEventListener("change", () => this.#emitIfChanged()))
      .catch(() => undefined);
    // client-side navigation may sign somebody in: Turbo replaces the head's mark, a router may change `options.user`
    const checkUser = () => this.#checkUser();
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

  // --- Finding what is ours -----------------------------------------------------------------------------------------

  /** @returns {string} the URL of the service worker's scope */
  #scope() {
    const said = this.options.scope ?? metaContent("scope") ?? this.#config?.service_worker_scope;
    const path = said ?? loadState(this.#memoryKey()).scope ?? "/";
    return new URL(path, document.baseURI).href;
  }

  #memoryKey() {
    return `${MEMORY_KEY} ${this.api.url("")} ${this.options.scope ?? ""}`.trim();
  }

  /** @param {Memory} state */
  #saveState(state) {
    saveState(this.#memoryKey(), state);
  }

  /**
   * The registration with exactly our scope: getRegistration() also gives one with a wider scope.
   * @returns {Promise<ServiceWorkerRegistration | null>}
   */
  async #registration() {
    const scope = this.#scope();
    const found = await registrations((workers) => workers.getRegistration(scope));
    return found?.scope === scope ? found : null;
  }

  /**
   * Our subscription, with what is known about it: that of our scope, else one that a former scope has left.
   * @returns {Promise<Found | null>}
   */
  async #find() {
    const here = await this.#registration();
    const found = here && (await this.#findIn(here));
    return found ?? (await this.#findMoved());
  }

  /**
   * @param {ServiceWorkerRegistration} registration
   * @returns {Promise<Found | null>}
   */
  async #findIn(registration) {
    const subscription = await registration.pushManager.getSubscription();
    if (!subscription) return null;
    const known = await this.#known(registration);
    const isOwn = known.endpoint === subscription.endpoint || this.#hasOwnKey(subscription, known);
    return isOwn ? { registration, subscription, known, isMoved: false } : null;
  }

  /**
   * A subscription that we made when the scope was another: a wider or narrower one, with our key and our API.
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
      const told = await askWorker(registration.active, { type: "webpush-kit:state" });
      if (!told?.endpoint || !this.#isOwnApi(told.baseUrl)) continue;
      const known = { ...loadState(this.#memoryKey()), endpoint: told.endpoint, key: told.publicKey };
      if (this.#hasOwnKey(subscription, known)) return { registration, subscription, known, isMoved: true };
    }
    return null;
  }

  /** @param {string | undefined} baseUrl */
  #isOwnApi(baseUrl) {
    return Boolean(baseUrl) && new URL(String(baseUrl), document.baseURI).href === this.api.url("");
  }

  /**
   * What this page knew at its last visit; else what the worker knows. Nothing when both have forgotten.
   * @param {ServiceWorkerRegistration} registration
   * @returns {Promise<Memory>}
   */
  async #known(registration) {
    const state = loadState(this.#memoryKey());
    if (state.endpoint || state.detached) return state;
    const told = await askWorker(registration.active, { type: "webpush-kit:state" });
    return told?.endpoint && this.#isOwnApi(told.baseUrl) ? { endpoint: told.endpoint, key: told.publicKey } : {};
  }

  /**
   * Browsers that do not tell the key get the benefit of the doubt.
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
    if (!active || new URL(active.scriptURL).pathname === this.#script().pathname) return true;
    if (!this.#ownScripts.get(active.scriptURL)) {
      this.#ownScripts.set(active.scriptURL, Boolean(await askWorker(active, { type: "webpush-kit:state" })));
    }
    return this.#ownScripts.get(active.scriptURL);
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
    const registration = await this.#register();
    const moved = await this.#findMoved();
    const present = await registration.pushManager.getSubscription();
    const subscription = await this.#subscribeTo(registration, config);
    let answer;
    try {
      answer = await this.#post(registration, subscription, config, preferences, moved?.subscription.endpoint);
    } catch (error) {
      // a subscription that the server does not know would look "on" and bring nothing
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
    const isRenewed = !hasKey(subscription, config.public_key);
    if (!known.detached) {
      const subscriptionToken = await askForToken(found.registration.active);
      const answer = await this.api.getPreferences(subscription.endpoint, { subscriptionToken });
      const isSignedOut = [401, 403].includes(answer.status);
      if (!answer.success && !isSignedOut && answer.status !== 404) throw toPushError(answer);
      const isOthers = answer.code === "owner_changed" || (answer.status === 404 && !isSameUser);
      if (isOthers) return this.#leave(found);
      if (isSignedOut && !isMoved && !isRenewed) {
        if (known.endpoint) this.#saveState({ ...known, asked: user, checked: Date.now() });
        return "nothing";
      }
      if (answer.success && !isMoved && !isRenewed) {
        await this.#tellWorker(registration.active, subscription, config.public_key);
        this.#remember(subscription, config.public_key, user || known.user, user);
        return "fresh";
      }
      if (!known.endpoint) return "nothing"; // never ours as far as anybody knows
    }
    const current = await this.#subscribeTo(registration, config);
    await this.#post(registration, current, config, undefined, known.endpoint ?? subscription.endpoint);
    if (isMoved) await this.#endMoved(found);
    return isRenewed || isMoved ? "renewed" : "resent";
  }

  /**
   * Someone else is signed in: end the subscription of the one before. With the server's word for it the browser's
   * subscription stays, for that user to come back to; else it ends here, and the server learns of it in time.
   * @param {Found} found
   * @returns {Promise<"nothing" | "ended">}
   */
  async #leave(found) {
    const { subscription, known } = found;
    if (!known.endpoint) return "nothing";
    const answer = await this.#remove(found);
    if (!answer.success || !known.user) await subscription.unsubscribe();
    this.#saveState(known.user ? { ...known, detached: true, scope: this.#scope() } : {});
    return "ended";
  }

  /** @param {Found} found at a scope that is ours no longer */
  async #endMoved({ registration, subscription }) {
    await subscription.unsubscribe();
    await askWorker(registration.active, { type: "webpush-kit:configure", subscriptionToken: null, endpoint: null });
    const isOurScript =
      registration.active && new URL(registration.active.scriptURL).pathname === this.#script().pathname;
    if (isOurScript) await registration.unregister?.();
  }

  /**
   * The registration of our worker, active. A worker of the site that is not ours is replaced only if told so.
   * @returns {Promise<ServiceWorkerRegistration>}
   */
  async #register() {
    const scope = this.#scope();
    const script = this.#script();
    const present = await this.#registration();
    if (present?.active && new URL(present.active.scriptURL).pathname !== script.pathname) {
      const answer = await askWorker(present.active, { type: "webpush-kit:state" });
      if (answer?.isImported) return present; // the site's own worker imports ours
      if (!answer && !this.options.replaceServiceWorker) throw conflict(present, script);
    }
    try {
      return await untilActive(await serviceWorkers().register(trusted(script.href), { scope }));
    } catch (cause) {
      throw new PushError("service_worker_failed", /** @type {Error} */ (cause).message, { cause });
    }
  }

  /**
   * The present subscription when it was made with this key, else a new one.
   * @param {ServiceWorkerRegistration} registration
   * @param {PushConfig} config
   * @returns {Promise<PushSubscription>}
   */
  async #subscribeTo(registration, config) {
    const present = await registration.pushManager.getSubscription();
    if (present && hasKey(present, config.public_key)) return present;
    if (present) {
      const known = await this.#known(registration);
      const isOwn = known.endpoint === present.endpoint || known.detached || this.#hasOwnKey(present, known);
      const isShared =
        registration.active && new URL(registration.active.scriptURL).pathname !== this.#script().pathname;
      if (!isOwn && isShared && !this.options.replaceSubscription) throw new PushError("subscription_conflict");
      await present.unsubscribe();
    }
    return subscribeWith(registration, config.public_key);
  }

  /**
   * Tell the server, and then the worker. On "key_mismatch" with a subscription made anew, once.
   * @param {ServiceWorkerRegistration} registration
   * @param {PushSubscription} subscription
   * @param {PushConfig} config
   * @param {Preferences | undefined} preferences
   * @param {string | undefined} oldEndpoint
   * @returns {Promise<SubscriptionAnswer>}
   */
  async #post(registration, subscription, config, preferences, oldEndpoint) {
    const subscriptionToken = await askForToken(registration.active);
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
    if (!answer.success) throw toPushError(answer);
    await this.#tellWorker(registration.active, current, config.public_key, answer.data);
    this.#remember(current, config.public_key, this.user ?? answer.data.user);
    return answer.data;
  }

  /**
   * @param {ServiceWorker | null | undefined} worker
   * @param {PushSubscription} subscription
   * @param {string} publicKey
   * @param {SubscriptionAnswer} [answer]
   */
  async #tellWorker(worker, { endpoint }, publicKey, answer) {
    await askWorker(worker, {
      type: "webpush-kit:configure",
      baseUrl: this.api.baseUrl,
      publicKey,
      subscriptionToken: answer?.subscription_token,
      endpoint,
      language: pageLanguage(),
    });
  }

  /** @param {Found} found */
  async #remove({ registration, subscription }) {
    const subscriptionToken = await askForToken(registration.active);
    const answer = await this.api.removeSubscription(subscription.endpoint, { subscriptionToken });
    await askWorker(registration.active, { type: "webpush-kit:configure", subscriptionToken: null, endpoint: null });
    return answer;
  }

  /**
   * @typedef {(endpoint: string, options: TokenOptions) => Promise<APIResponse<any>>} EndpointCall
   * @param {EndpointCall} call
   */
  async #forEndpoint(call) {
    const found = await this.#find();
    if (!found) throw new PushError("not_subscribed");
    const subscriptionToken = await askForToken(found.registration.active);
    const answer = await call(found.subscription.endpoint, { subscriptionToken });
    if (!answer.success) throw toPushError(answer);
    return answer;
  }

  /**
   * @param {PushSubscription} subscription
   * @param {string} key
   * @param {string | undefined} user whose it is
   * @param {string | undefined} [asked] who is signed in
   */
  #remember({ endpoint }, key, user, asked = user) {
    this.#saveState({ endpoint, key, user, asked, scope: this.#scope(), checked: Date.now() });
  }

  /**
   * Whether the server need not be asked about the subscription.
   * @param {Memory} known
   * @param {PushSubscription} subscription
   * @param {string | undefined} user who is signed in
   */
  #isFresh(known, subscription, user) {
    const key = this.options.publicKey ?? known.key;
    const isUnchanged =
      !known.detached && known.endpoint === subscription.endpoint && user !== undefined && known.asked === user;
    return isUnchanged && hasKey(subscription, key) && Date.now() - (known.checked ?? 0) < CHECK_INTERVAL_MS;
  }
}

/**
 * The HTTP API. No method throws over an answer: each resolves to an APIResponse, `data` being the JSON the server sent;
 * without an answer `status` is 0 and `code` "network_error".
 *
 * Options: `baseUrl`; `csrfToken` (text or a function; else the meta tag, else the cookie `csrfCookie`, "csrftoken");
 * `headers` (an object, or a function that may be async: for `Authorization`); `credentials`, as fetch() has it.
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
  createSubscription(subscription, preferences, { oldEndpoint, subscriptionToken } = {}) {
    const body = {
      subscription: "toJSON" in subscription ? subscription.toJSON() : subscription,
      preferences,
      language: pageLanguage(),
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      old_endpoint: oldEndpoint,
    };
    return this.makeRequest("subscribe", { method: "POST", body: JSON.stringify(body), subscriptionToken });
  }

  /**
   * @param {string} endpoint
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse>}
   */
  removeSubscription(endpoint, { subscriptionToken } = {}) {
    return this.makeRequest("unsubscribe", { method: "POST", body: JSON.stringify({ endpoint }), subscriptionToken });
  }

  /**
   * @param {string} endpoint
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse<{preferences: Preferences, user?: string}>>}
   */
  getPreferences(endpoint, { subscriptionToken } = {}) {
    return this.makeRequest(`preferences?endpoint=${encodeURIComponent(endpoint)}`, { subscriptionToken });
  }

  /**
   * @param {string} endpoint
   * @param {Preferences} preferences
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse>}
   */
  updatePreferences(endpoint, preferences, { subscriptionToken } = {}) {
    const body = JSON.stringify({ endpoint, preferences });
    return this.makeRequest("preferences", { method: "PUT", body, subscriptionToken });
  }

  /**
   * @param {string} endpoint
   * @param {TokenOptions} [options]
   * @returns {Promise<APIResponse>}
   */
  sendTestNotification(endpoint, { subscriptionToken } = {}) {
    return this.makeRequest("test", { method: "POST", body: JSON.stringify({ endpoint }), subscriptionToken });
  }

  /** @returns {Promise<APIResponse<PushConfig>>} */
  getConfig() {
    return this.makeRequest("config");
  }

  /**
   * The absolute URL of one of the API's paths: "subscribe", and "/push/subscribe" alike.
   * @param {string} path
   * @returns {string}
   */
  url(path) {
    return new URL(path.replace(/^\/?(push\/)?/, ""), new URL(this.baseUrl, globalThis.document?.baseURI)).href;
  }

  /**
   * One request.
   * @param {string} path
   * @param {RequestOptions} [options] those of fetch(), and a `subscriptionToken`
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
    const all = { Accept: "application/json", ...(typeof headers === "function" ? await headers() : headers) };
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
    if (csrfToken) return typeof csrfToken === "function" ? csrfToken() : csrfToken;
    if (new URL(url).origin !== globalThis.location?.origin) return "";
    const cookies = document.cookie.split("; ").map((cookie) => cookie.split("="));
    return metaContent("csrf") || decodeURIComponent(cookies.find(([name]) => name === csrfCookie)?.[1] ?? "");
  }
}

/** For pages that subscribe by themselves and only want the server told. */
// biome-ignore lint/complexity/noStaticOnlyClass: part of the public API
export class PushNotificationIntegration {
  /**
   * The client to use; by default the one of the page's manager.
   * @type {PushAPI | null}
   */
  static api = null;

  /**
   * Tell the server of a subscription; never throws.
   * @param {PushSubscription} subscription
   * @param {Preferences} [preferences]
   * @returns {Promise<{success: boolean, error: string}>}
   */
  static async setupSubscription(subscription, preferences) {
    const subscriptionData = {
      endpoint: subscription.endpoint,
      expirationTime: subscription.expirationTime ?? null,
      keys: {
        p256dh: arrayBufferToBase64(subscription.getKey("p256dh")),
        auth: arrayBufferToBase64(subscription.getKey("auth")),
      },
    };
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
 * Base64url without padding, as PushSubscription.toJSON() has it.
 * @param {ArrayBuffer | null} buffer
 * @returns {string}
 */
export function arrayBufferToBase64(buffer) {
  const text = btoa(String.fromCharCode(...new Uint8Array(buffer ?? new ArrayBuffer(0))));
  return text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/**
 * The bytes of base64url or base64 text: what `applicationServerKey` takes.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function base64ToUint8Array(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
}

/** Whether this browser, as it runs now, can do push at all. */
export function isSupported() {
  return ["Notification", "PushManager"].every((name) => name in globalThis) && Boolean(serviceWorkers());
}

/** iOS and iPadOS know push only for sites on the home screen: true in their tabs. */
export function needsInstall() {
  const {
    userAgent = "",
    platform = "",
    maxTouchPoints = 0,
    standalone = false,
  } = /** @type {any} */ (globalThis.navigator ?? {});
  const isIos = /iPhone|iPad|iPod/.test(userAgent) || (platform === "MacIntel" && maxTouchPoints > 1);
  const isInstalled = standalone || Boolean(globalThis.matchMedia?.("(display-mode: standalone)").matches);
  return isIos && !isInstalled && !isSupported();
}

/** What keeps this page from ever subscribing, as a code of PUSH_ERRORS; "" for nothing. */
function findObstacle() {
  if (globalThis.isSecureContext === false) return "insecure";
  if (isFramed()) return "framed";
  if (isStorageBlocked()) return "storage_blocked";
  if (isSupported()) return "";
  return needsInstall() ? "needs_install" : "unsupported";
}

/** Whether this page is in a sandbox, or in a frame of another site: browsers refuse notifications there. */
function isFramed() {
  if (globalThis.origin === "null") return true;
  try {
    return Boolean(globalThis.top && globalThis.top !== globalThis.self && !globalThis.top.location.href);
  } catch {
    return true;
  }
}

function isStorageBlocked() {
  try {
    return !globalThis.navigator?.serviceWorker && false;
  } catch {
    return true;
  }
}

/**
 * Access alone throws in a sandbox, and where cookies are blocked.
 * @returns {ServiceWorkerContainer}
 */
function serviceWorkers() {
  try {
    return globalThis.navigator?.serviceWorker;
  } catch {
    return /** @type {any} */ (undefined);
  }
}

/**
 * What `ask` finds among the site's service workers; a PushError where cookies and site data are blocked.
 * @template T
 * @param {(workers: ServiceWorkerContainer) => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function registrations(ask) {
  try {
    return await ask(serviceWorkers());
  } catch (cause) {
    throw new PushError("storage_blocked", "", { cause });
  }
}

/**
 * @param {ServiceWorkerRegistration} registration
 * @param {string} publicKey
 */
async function subscribeWith(registration, publicKey) {
  let applicationServerKey;
  try {
    applicationServerKey = base64ToUint8Array(publicKey);
  } catch (cause) {
    throw new PushError("invalid_key", "", { cause });
  }
  try {
    return await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  } catch (cause) {
    const { name } = /** @type {Error} */ (cause);
    if (name === "NotAllowedError") throw new PushError("denied", "", { cause });
    if (name === "InvalidAccessError") throw new PushError("invalid_key", "", { cause });
    throw new PushError("push_service_unavailable", "", { cause });
  }
}

/**
 * Browsers that do not tell the key get the benefit of the doubt.
 * @param {PushSubscription} subscription
 * @param {string | undefined} publicKey
 */
function hasKey(subscription, publicKey) {
  const key = subscription.options?.applicationServerKey;
  return !key || !publicKey || arrayBufferToBase64(key) === publicKey.replace(/=+$/, "");
}

/**
 * Go to the URL of a click, unless the site's router does. False: the service worker is to navigate this page.
 * @param {{url: string, isForced: boolean}} request
 */
function navigatePage({ url, isForced }) {
  const event = new CustomEvent("webpush-navigate", { cancelable: true, detail: { url } });
  if (!document.dispatchEvent(event)) return true;
  const isFragment = url.includes("#") && url.split("#")[0] === location.href.split("#")[0];
  const isOurs = new URL(url).origin === location.origin && (isForced || isFragment);
  if (isOurs) location.assign(url);
  return isOurs;
}

/** @type {any} */
let scriptPolicy = null;

/**
 * The URL of a worker's script in the form that `require-trusted-types-for 'script'` asks for. Where the page does not
 * allow our policy it stays text, which a default policy of the page may let pass. The policy checks nothing: nobody
 * else can use it, and browsers take workers of the page's own origin only.
 * @param {string} url
 * @returns {string}
 */
function trusted(url) {
  try {
    const rules = { createScriptURL: (/** @type {string} */ text) => text };
    scriptPolicy ??= /** @type {any} */ (globalThis).trustedTypes?.createPolicy("webpush-kit", rules);
  } catch {
    return url;
  }
  return scriptPolicy?.createScriptURL(url) ?? url;
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
 * The worker's answer to a message; null when it is not ours, or gives none in time.
 * @param {ServiceWorker | null | undefined} worker
 * @param {Record<string, unknown>} message
 * @returns {Promise<Record<string, any> | null>}
 */
function askWorker(worker, message) {
  if (!worker) return Promise.resolve(null);
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, WORKER_TIMEOUT_MS, null);
    port1.onmessage = ({ data }) => {
      clearTimeout(timer);
      resolve(data);
    };
    worker.postMessage(message, [port2]);
  }).finally(() => port1.close());
}

/**
 * The subscription token, which the worker keeps: a browser without a session proves itself with it.
 * @param {ServiceWorker | null | undefined} worker
 * @returns {Promise<string | undefined>}
 */
async function askForToken(worker) {
  return (await askWorker(worker, { type: "webpush-kit:state" }))?.subscriptionToken;
}

/** @param {APIResponse<any>} answer */
function toPushError({ code, message, status, errors }) {
  return new PushError(code || "failed", code === "network_error" ? "" : message, { status, errors });
}

/**
 * @param {ServiceWorkerRegistration} registration
 * @param {URL} script
 */
function conflict({ active, scope }, script) {
  const mend = `let it importScripts("${script.pathname}"), or set replaceServiceWorker.`;
  return new PushError("service_worker_conflict", `${active?.scriptURL} already serves ${scope}: ${mend}`);
}

/** The language this site speaks to the user, else the browser's. */
function pageLanguage() {
  return globalThis.document?.documentElement.lang || globalThis.navigator?.language || "";
}

/**
 * @param {string} name
 * @returns {string | undefined} undefined where the head has no such tag
 */
function metaContent(name) {
  const tag = globalThis.document?.querySelector(`meta[name="webpush-kit-${name}"]`);
  return /** @type {HTMLMetaElement | null | undefined} */ (tag)?.content;
}

/**
 * What this page remembers; nothing where storage is closed to us.
 * @param {string} key
 * @returns {Memory}
 */
function loadState(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/**
 * @param {string} key
 * @param {Memory} state
 */
function saveState(key, state) {
  try {
    localStorage.setItem(key, JSON.stringify(state));
  } catch {
    // then each page load asks the server again
  }
}
