/**
 * A stand-in for the HTTP API, for work on pages without a server:
 *
 *   const push = createPush({ api: new MockPushNotificationAPI({ delay: 0 }) });
 */
import { PushNotificationAPI } from "./webpush-kit.js";

const MOCK_PUBLIC_KEY = "BLImh2B_aoqI7HC-QC7TyGd6vYzO2P7sgrApxVnsq-ksX4br6GNOn8p03nfVSb5FTeQ2hxQxVlZFbvp5h9NKsPE";

/** Same methods and answers as PushNotificationAPI; subscriptions live in memory. `delay` is in milliseconds. */
export class MockPushNotificationAPI extends PushNotificationAPI {
  constructor({ delay = 500, config = {}, ...options } = {}) {
    super(options);
    this.delayMilliseconds = delay;
    this.config = config;
    this.mockSubscriptions = new Map();
    this.nextId = Date.now();
  }

  async createSubscription(subscription, preferences = {}) {
    await this.delay(this.delayMilliseconds);
    const known = this.mockSubscriptions.get(subscription.endpoint);
    const id = known?.id ?? this.nextId++;
    this.mockSubscriptions.set(subscription.endpoint, { id, subscription, preferences });
    return answer(known ? 200 : 201, { subscription_id: id, subscription_token: `mock-${id}` });
  }

  async removeSubscription(endpoint) {
    await this.delay(this.delayMilliseconds);
    this.mockSubscriptions.delete(endpoint);
    return answer(200, { message: "Unsubscribed." });
  }

  async getPreferences(endpoint) {
    return this.#known(endpoint, ({ preferences }) => ({ preferences }));
  }

  async updatePreferences(endpoint, preferences) {
    return this.#known(endpoint, (known) => {
      known.preferences = preferences;
      return { message: "Preferences saved." };
    });
  }

  async sendTestNotification(endpoint) {
    return this.#known(endpoint, () => ({ message: "Test notification sent." }));
  }

  async getConfig() {
    await this.delay(this.delayMilliseconds);
    return answer(200, { public_key: MOCK_PUBLIC_KEY, types: {}, urls: {}, service_worker_scope: "/", ...this.config });
  }

  /** A request that none of the methods covers: nothing is sent anywhere. */
  async makeRequest() {
    await this.delay(this.delayMilliseconds);
    return answer(200, {});
  }

  delay(milliseconds) {
    return new Promise((resolve) => setTimeout(resolve, milliseconds));
  }

  async #known(endpoint, use) {
    await this.delay(this.delayMilliseconds);
    const known = this.mockSubscriptions.get(endpoint);
    return known ? answer(200, use(known)) : answer(404, { message: "Unknown subscription.", code: "not_found" });
  }
}

function answer(status, body) {
  const { message = "", code = "", errors = {} } = body;
  const success = status < 400;
  return { success, status, message, code, errors, data: { success, ...body } };
}
