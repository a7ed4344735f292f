/**
 * A stand-in for the HTTP API, to work on pages without a server:
 *
 *   const push = createPush({ api: new MockPushNotificationAPI({ delay: 0 }) });
 */

/** @import { APIResponse, Identifier, Preferences, PushAPI, PushConfig } from "./webpush-kit.js" */

const MOCK_PUBLIC_KEY = "BLImh2B_aoqI7HC-QC7TyGd6vYzO2P7sgrApxVnsq-ksX4br6GNOn8p03nfVSb5FTeQ2hxQxVlZFbvp5h9NKsPE";

const STORAGE_KEY = "webpush-kit-mock"; // in localStorage

/** @typedef {{id: Identifier, subscription: PushSubscription | PushSubscriptionJSON, preferences: Preferences}} MockSubscription */

/**
 * `delay` is in milliseconds; `fail` is the code of an error that every call answers with, or a function that is given
 * the method's name and returns one, or "".
 * @typedef {object} MockOptions
 * @property {string} [baseUrl] of the API that is stood in for; default: "/api/v1/push/"
 * @property {number} [delay] default: 500
 * @property {Partial<PushConfig>} [config]
 * @property {string | ((method: string) => string)} [fail]
 */

/**
 * Same methods and answers as PushNotificationAPI. Subscriptions outlive the page where it has a `localStorage`, for the
 * browser's own do. It imports nothing, for storages of hashed static files change the module's name.
 */
export class MockPushNotificationAPI {
  /** @param {MockOptions} [options] */
  constructor({ baseUrl = "/api/v1/push/", delay = 500, config = {}, fail = "" } = {}) {
    this.baseUrl = baseUrl.replace(/\/*$/, "/");
    this.delayMilliseconds = delay;
    this.config = config;
    this.fail = fail;
    /** @type {Map<string, MockSubscription>} by endpoint */
    this.mockSubscriptions = load();
    this.nextId = Date.now();
  }

  /**
   * @param {PushSubscription | PushSubscriptionJSON} subscription
   * @param {Preferences} [preferences]
   * @returns {Promise<APIResponse<any>>}
   */
  async createSubscription(subscription, preferences = {}) {
    return this.#answer("createSubscription", () => {
      const endpoint = String(subscription.endpoint);
      const known = this.mockSubscriptions.get(endpoint);
      const id = known?.id ?? this.nextId++;
      this.mockSubscriptions.set(endpoint, { id, subscription, preferences });
      return answer(known ? 200 : 201, { subscription_id: id, subscription_token: `mock-${id}` });
    });
  }

  /**
   * @param {string} endpoint
   */
  async removeSubscription(endpoint) {
    return this.#answer("removeSubscription", () => {
      this.mockSubscriptions.delete(endpoint);
      return answer(200, { message: "Unsubscribed." });
    });
  }

  /**
   * @param {string} endpoint
   * @returns {Promise<APIResponse<any>>}
   */
  async getPreferences(endpoint) {
    return this.#known("getPreferences", endpoint, ({ preferences }) => ({ preferences }));
  }

  /**
   * @param {string} endpoint
   * @param {Preferences} preferences
   */
  async updatePreferences(endpoint, preferences) {
    return this.#known("updatePreferences", endpoint, (known) => {
      known.preferences = preferences;
      return { message: "Preferences saved." };
    });
  }

  /**
   * Shows a notification through the page's own permission, where it has one.
   * @param {string} endpoint
   */
  async sendTestNotification(endpoint) {
    return this.#known("sendTestNotification", endpoint, () => {
      if (globalThis.Notification?.permission === "granted") showHere().catch(console.error);
      return { message: "Test notification sent." };
    });
  }

  /**
   * @returns {Promise<APIResponse<any>>}
   */
  async getConfig() {
    const config = {
      public_key: MOCK_PUBLIC_KEY,
      types: {},
      urls: {},
      service_worker_scope: "/",
      user: "",
      ...this.config,
    };
    return this.#answer("getConfig", () => answer(200, config));
  }

  /**
   * A request that none of the methods covers: nothing is sent anywhere.
   * @returns {Promise<APIResponse<any>>}
   */
  async makeRequest() {
    return this.#answer("makeRequest", () => answer(200, {}));
  }

  /**
   * The absolute URL of one of the API's paths.
   * @param {string} path
   * @returns {string}
   */
  url(path) {
    return new URL(path, new URL(this.baseUrl, globalThis.document?.baseURI)).href;
  }

  /** @param {number} milliseconds */
  delay(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
  }

  /**
   * @param {string} method
   * @param {() => APIResponse<any>} make
   */
  async #answer(method, make) {
    await this.delay(this.delayMilliseconds);
    const code = typeof this.fail === "function" ? this.fail(method) : this.fail;
    if (!code) {
      const made = make();
      save([...this.mockSubscriptions]);
      return made;
    }
    const status = /** @type {Record<string, number>} */ (STATUSES)[code] ?? 400;
    return answer(status, { message: `The mock was told to fail with ${code}.`, code });
  }

  /**
   * @param {string} method
   * @param {string} endpoint
   * @param {(known: MockSubscription) => Record<string, unknown>} use
   */
  async #known(method, endpoint, use) {
    return this.#answer(method, () => {
      const known = this.mockSubscriptions.get(endpoint);
      return known ? answer(200, use(known)) : answer(404, { message: "Unknown subscription.", code: "not_found" });
    });
  }
}

const STATUSES = { network_error: 0, not_authenticated: 401, forbidden: 403, not_found: 404, rate_limited: 429 };

async function showHere() {
  const title = "Test notification";
  const options = { body: "Push notifications reach this browser.", tag: "webpush-kit-test" };
  try {
    new Notification(title, options);
  } catch {
    // Chrome on Android shows notifications of service workers only
    const registrations = await navigator.serviceWorker.getRegistrations();
    await registrations.find(({ active }) => active)?.showNotification(title, options);
  }
}

/** @returns {Map<string, MockSubscription>} */
function load() {
  try {
    return new Map(JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "[]"));
  } catch {
    return new Map();
  }
}

/** @param {[string, MockSubscription][]} entries */
function save(entries) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(entries));
  } catch {
    // without storage they end with the page
  }
}

/**
 * @param {number} status
 * @param {Record<string, any>} body
 * @returns {APIResponse<any>}
 */
function answer(status, body) {
  const { message = "", code = "", errors = {} } = body;
  const success = status > 0 && status < 400;
  return { success, status, message, code, errors, data: { success, ...body } };
}
