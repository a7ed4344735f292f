// Generated from the JSDoc of the module by js/declarations.mjs: change that, not this.
/** @typedef {{id: Identifier, subscription: PushSubscription | PushSubscriptionJSON, preferences: Preferences}} MockSubscription */
/**
 * `delay` is in milliseconds; `fail` is the code of an error that every call answers with, or a function that is given
 * the method's name and returns one, or "".
 * @typedef {object} MockOptions
 * @property {number} [delay] default: 500
 * @property {Partial<PushConfig>} [config]
 * @property {string | ((method: string) => string)} [fail]
 */
/** Same methods and answers as PushNotificationAPI; subscriptions live in memory. */
export class MockPushNotificationAPI extends PushNotificationAPI {
    /** @param {APIOptions & MockOptions} [options] */
    constructor({ delay, config, fail, ...options }?: APIOptions & MockOptions);
    delayMilliseconds: number;
    config: Partial<PushConfig>;
    fail: string | ((method: string) => string);
    /** @type {Map<string, MockSubscription>} by endpoint */
    mockSubscriptions: Map<string, MockSubscription>;
    nextId: number;
    /**
     * @override
     * @param {PushSubscription | PushSubscriptionJSON} subscription
     * @param {Preferences} [preferences]
     * @returns {Promise<APIResponse<any>>}
     */
    override createSubscription(subscription: PushSubscription | PushSubscriptionJSON, preferences?: Preferences): Promise<APIResponse<any>>;
    /**
     * @override
     * @param {string} endpoint
     */
    override removeSubscription(endpoint: string): Promise<APIResponse<any>>;
    /**
     * @override
     * @param {string} endpoint
     * @returns {Promise<APIResponse<any>>}
     */
    override getPreferences(endpoint: string): Promise<APIResponse<any>>;
    /**
     * @override
     * @param {string} endpoint
     * @param {Preferences} preferences
     */
    override updatePreferences(endpoint: string, preferences: Preferences): Promise<APIResponse<any>>;
    /**
     * Shows a notification through the page's own permission, where it has one.
     * @override
     * @param {string} endpoint
     */
    override sendTestNotification(endpoint: string): Promise<APIResponse<any>>;
    /**
     * @override
     * @returns {Promise<APIResponse<any>>}
     */
    override getConfig(): Promise<APIResponse<any>>;
    /**
     * A request that none of the methods covers: nothing is sent anywhere.
     * @override
     * @returns {Promise<APIResponse<any>>}
     */
    override makeRequest(): Promise<APIResponse<any>>;
    /** @param {number} milliseconds */
    delay(milliseconds: number): Promise<any>;
    #private;
}
export type MockSubscription = {
    id: Identifier;
    subscription: PushSubscription | PushSubscriptionJSON;
    preferences: Preferences;
};
/**
 * `delay` is in milliseconds; `fail` is the code of an error that every call answers with, or a function that is given
 * the method's name and returns one, or "".
 */
export type MockOptions = {
    /**
     * default: 500
     */
    delay?: number | undefined;
    config?: Partial<PushConfig> | undefined;
    fail?: string | ((method: string) => string) | undefined;
};
import { PushNotificationAPI } from "./webpush-kit.js";
import type { PushConfig } from "./webpush-kit.js";
import type { Preferences } from "./webpush-kit.js";
import type { APIResponse } from "./webpush-kit.js";
import type { APIOptions } from "./webpush-kit.js";
import type { Identifier } from "./webpush-kit.js";
