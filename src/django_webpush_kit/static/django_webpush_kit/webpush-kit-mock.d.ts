// Generated from the JSDoc of the module by js/declarations.mjs: change that, not this.
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
    constructor({ baseUrl, delay, config, fail }?: MockOptions);
    baseUrl: string;
    delayMilliseconds: number;
    config: Partial<PushConfig>;
    fail: string | ((method: string) => string);
    /** @type {Map<string, MockSubscription>} by endpoint */
    mockSubscriptions: Map<string, MockSubscription>;
    nextId: number;
    /**
     * @param {PushSubscription | PushSubscriptionJSON} subscription
     * @param {Preferences} [preferences]
     * @returns {Promise<APIResponse<any>>}
     */
    createSubscription(subscription: PushSubscription | PushSubscriptionJSON, preferences?: Preferences): Promise<APIResponse<any>>;
    /**
     * @param {string} endpoint
     */
    removeSubscription(endpoint: string): Promise<APIResponse<any>>;
    /**
     * @param {string} endpoint
     * @returns {Promise<APIResponse<any>>}
     */
    getPreferences(endpoint: string): Promise<APIResponse<any>>;
    /**
     * @param {string} endpoint
     * @param {Preferences} preferences
     */
    updatePreferences(endpoint: string, preferences: Preferences): Promise<APIResponse<any>>;
    /**
     * Shows a notification through the page's own permission, where it has one.
     * @param {string} endpoint
     */
    sendTestNotification(endpoint: string): Promise<APIResponse<any>>;
    /**
     * @returns {Promise<APIResponse<any>>}
     */
    getConfig(): Promise<APIResponse<any>>;
    /**
     * A request that none of the methods covers: nothing is sent anywhere.
     * @returns {Promise<APIResponse<any>>}
     */
    makeRequest(): Promise<APIResponse<any>>;
    /**
     * The absolute URL of one of the API's paths.
     * @param {string} path
     * @returns {string}
     */
    url(path: string): string;
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
     * of the API that is stood in for; default: "/api/v1/push/"
     */
    baseUrl?: string | undefined;
    /**
     * default: 500
     */
    delay?: number | undefined;
    config?: Partial<PushConfig> | undefined;
    fail?: string | ((method: string) => string) | undefined;
};
import type { PushConfig } from "./webpush-kit.js";
import type { Preferences } from "./webpush-kit.js";
import type { APIResponse } from "./webpush-kit.js";
import type { Identifier } from "./webpush-kit.js";
