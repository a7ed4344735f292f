// Generated from the JSDoc of the module by js/declarations.mjs: change that, not this.
/**
 * Create an API client and a manager, and repair the subscription in the background. The first manager of a page is
 * also used by PushNotificationIntegration and the elements.
 * @param {PushOptions} [options]
 */
export function createPush(options?: PushOptions): PushNotificationManager;
/**
 * Return the page's first manager. Creates it if necessary.
 * @returns {PushNotificationManager}
 */
export function defaultPush(): PushNotificationManager;
/**
 * Base64url without padding, as in PushSubscription.toJSON().
 * @param {ArrayBuffer | null} buffer
 * @returns {string}
 */
export function arrayBufferToBase64(buffer: ArrayBuffer | null): string;
/**
 * Decode base64url or base64 text to bytes, for `applicationServerKey`.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function base64ToUint8Array(text: string): Uint8Array<ArrayBuffer>;
/** Whether this browser supports push. */
export function isSupported(): boolean;
/** iOS and iPadOS support push only for sites on the home screen: true in a browser tab. */
export function needsInstall(): boolean;
/**
 * The codes of PushErrors created in this file, with their default messages. Other codes come from the server. Codes
 * are stable; messages may change.
 */
export const PUSH_ERRORS: Readonly<{
    unsupported: "This browser cannot receive notifications.";
    insecure: "Open this site over https to receive notifications.";
    framed: "Open this page in a tab of its own to receive notifications.";
    needs_install: "Add this site to your home screen to receive notifications.";
    storage_blocked: "Allow cookies for this site to receive notifications.";
    denied: "Blocked. Allow notifications for this site in your browser's settings.";
    dismissed: "Try again, and choose “Allow”.";
    push_service_unavailable: "The browser's push service cannot be reached. Check your connection, and leave private browsing.";
    service_worker_failed: "The service worker could not be installed.";
    service_worker_conflict: "Another service worker has taken over this site. It must import ours.";
    subscription_conflict: "Another provider has subscribed this service worker.";
    not_configured: "The server has no VAPID key.";
    invalid_key: "The VAPID public key is malformed.";
    not_subscribed: "This browser has no subscription.";
    network_error: "The server cannot be reached. Check your connection.";
    failed: "Something went wrong.";
}>;
/** An error with a stable `code`: one of PUSH_ERRORS, or the code of the server's response. */
export class PushError extends Error {
    /**
     * @param {string} code
     * @param {string} [message]
     * @param {{status?: number, errors?: Record<string, string[]>, cause?: unknown}} [details]
     */
    constructor(code: string, message?: string, { status, errors, cause }?: {
        status?: number;
        errors?: Record<string, string[]>;
        cause?: unknown;
    });
    code: string;
    status: number;
    errors: Record<string, string[]>;
}
/**
 * Subscribes this browser, and keeps its subscription consistent with the server.
 *
 * Events: "change" (the new PushState), "error" (a PushError of background work), "shown" and "clicked"
 * (NotificationNews from the service worker), "navigate" (a click leads this page to another URL: see PushNavigation).
 */
export class PushNotificationManager {
    /** @param {PushOptions} [options] */
    constructor(options?: PushOptions);
    /** @type {PushOptions} */
    options: PushOptions;
    /** @type {PushAPI} */
    api: PushAPI;
    /** The mark of the signed-in user: "" if nobody is signed in, undefined if unknown. */
    get user(): string | undefined;
    /**
     * Set the signed-in user after a login or logout without a page load. Ends the subscription of the previous user.
     * @param {string} user a string, different for each user; "" if nobody is signed in
     */
    setUser(user: string): Promise<"nothing" | "fresh" | "renewed" | "resent" | "ended">;
    /** @returns {Promise<PushState>} */
    state(): Promise<PushState>;
    /**
     * The browser's PushSubscription, or null. Subscriptions of other push providers do not count.
     * @returns {Promise<PushSubscription | null>}
     */
    subscription(): Promise<PushSubscription | null>;
    /**
     * Ask for permission, subscribe, and inform the server. Call it in a click handler: browsers refuse to ask otherwise.
     * @param {Preferences} [preferences]
     * @returns {Promise<SubscriptionAnswer>} rejects with a PushError
     */
    subscribe(preferences?: Preferences): Promise<SubscriptionAnswer>;
    /** End the subscription here and on the server. Without a network, the server notices it at the next delivery. */
    unsubscribe(): Promise<void>;
    /**
     * Await this before logging out. The server stops sending to this browser, which keeps its permission. The next
     * repair reconnects the same user (see `webpush-kit-user`); other users must subscribe.
     */
    detach(): Promise<void>;
    /**
     * The stored preferences.
     * @returns {Promise<Preferences>}
     */
    preferences(): Promise<Preferences>;
    /** @param {Preferences} preferences replace the stored ones */
    updatePreferences(preferences: Preferences): Promise<Record<string, any>>;
    sendTestNotification(): Promise<Record<string, any>>;
    /**
     * Repair the subscription: subscribe again after a change of the VAPID key or scope, send an endpoint that the server
     * does not know, and end a subscription of another user. Never subscribes a browser that was not subscribed. Asks the
     * server at most every 12 hours while key and user stay the same, unless `force` is given.
     * @param {{force?: boolean}} [options]
     * @returns {Promise<"nothing" | "fresh" | "renewed" | "resent" | "ended">}
     */
    repair({ force }?: {
        force?: boolean;
    }): Promise<"nothing" | "fresh" | "renewed" | "resent" | "ended">;
    /**
     * The server's `config` response, requested once.
     * @returns {Promise<PushConfig>}
     */
    config(): Promise<PushConfig>;
    /**
     * Register a subscription that the page created with its own code and the server has accepted.
     * @param {PushSubscription} subscription
     * @param {SubscriptionAnswer} answer of the server
     */
    adopt(subscription: PushSubscription, answer: SubscriptionAnswer): Promise<void>;
    /**
     * Call `listener(detail)` for each event with this name. Returns a function that removes the listener.
     * @template {keyof PushEvents} Name
     * @param {Name} name
     * @param {(detail: PushEvents[Name]) => void} listener
     */
    on<Name extends keyof PushEvents>(name: Name, listener: (detail: PushEvents[Name]) => void): () => undefined;
    /**
     * Pass an error of background work to the listeners of "error".
     * @param {any} error
     */
    report(error: any): void;
    #private;
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
    constructor(options?: APIOptions);
    options: APIOptions;
    baseUrl: string;
    /**
     * Create or update.
     * @param {PushSubscription | PushSubscriptionJSON} subscription
     * @param {Preferences} [preferences]
     * @param {{oldEndpoint?: string} & TokenOptions} [options]
     * @returns {Promise<APIResponse<SubscriptionAnswer>>}
     */
    createSubscription(subscription: PushSubscription | PushSubscriptionJSON, preferences?: Preferences, { oldEndpoint, ...options }?: {
        oldEndpoint?: string;
    } & TokenOptions): Promise<APIResponse<SubscriptionAnswer>>;
    /**
     * @param {string} endpoint
     * @param {TokenOptions} [options]
     * @returns {Promise<APIResponse>}
     */
    removeSubscription(endpoint: string, options?: TokenOptions): Promise<APIResponse>;
    /**
     * @param {string} endpoint
     * @param {TokenOptions} [options]
     * @returns {Promise<APIResponse<{preferences: Preferences, user?: string}>>}
     */
    getPreferences(endpoint: string, options?: TokenOptions): Promise<APIResponse<{
        preferences: Preferences;
        user?: string;
    }>>;
    /**
     * @param {string} endpoint
     * @param {Preferences} preferences
     * @param {TokenOptions} [options]
     * @returns {Promise<APIResponse>}
     */
    updatePreferences(endpoint: string, preferences: Preferences, options?: TokenOptions): Promise<APIResponse>;
    /**
     * @param {string} endpoint
     * @param {TokenOptions} [options]
     * @returns {Promise<APIResponse>}
     */
    sendTestNotification(endpoint: string, options?: TokenOptions): Promise<APIResponse>;
    /** @returns {Promise<APIResponse<PushConfig>>} */
    getConfig(): Promise<APIResponse<PushConfig>>;
    /**
     * The absolute URL of an API path, given as "subscribe" or "/push/subscribe".
     * @param {string} path
     * @returns {string}
     */
    url(path: string): string;
    /**
     * One request.
     * @param {string} path
     * @param {RequestOptions} [options] options of fetch(), and a `subscriptionToken`
     * @returns {Promise<APIResponse<any>>}
     */
    makeRequest(path: string, { subscriptionToken, ...init }?: RequestOptions): Promise<APIResponse<any>>;
    #private;
}
/** For pages that subscribe with their own code and only need to inform the server. */
export class PushNotificationIntegration {
    /**
     * The client to use. Default: the client of the page's manager.
     * @type {PushAPI | null}
     */
    static api: PushAPI | null;
    /**
     * Send a subscription to the server. Never throws.
     * @param {PushSubscription} subscription
     * @param {Preferences} [preferences]
     * @returns {Promise<{success: boolean, error: string}>}
     */
    static setupSubscription(subscription: PushSubscription, preferences?: Preferences): Promise<{
        success: boolean;
        error: string;
    }>;
}
/**
 * Whether this browser receives notifications, or why it cannot. "storage-blocked": cookies and site data are blocked;
 * "conflict": a service worker that is not ours has replaced ours.
 */
export type PushState = "unsupported" | "insecure" | "framed" | "needs-install" | "storage-blocked" | "denied" | "conflict" | "off" | "on";
export type QuietHours = {
    enabled: boolean;
    /**
     * such as "22:00"; required if enabled
     */
    start?: string | undefined;
    end?: string | undefined;
    /**
     * such as "Europe/Berlin"
     */
    timezone?: string | undefined;
};
export type Preferences = {
    categories?: Record<string, boolean>;
    quiet_hours?: QuietHours;
    [name: string]: unknown;
};
/**
 * The response of `config`.
 */
export type PushConfig = {
    success: boolean;
    public_key: string;
    types: Record<string, {
        label: string;
        default: boolean;
        description?: string;
        [name: string]: unknown;
    }>;
    urls: Partial<Record<"subscribe" | "unsubscribe" | "preferences" | "test" | "events" | "service_worker", string>>;
    service_worker_scope?: string | undefined;
    /**
     * mark of the signed-in user, "" if nobody is signed in
     */
    user?: string | undefined;
    /**
     * whether browsers can show the messages without a service worker
     */
    declarative?: boolean | undefined;
};
/**
 * a primary key: a number, or text such as a UUID
 */
export type Identifier = number | string;
export type SubscriptionAnswer = {
    success: boolean;
    subscription_id: Identifier;
    subscription_token?: string;
    user?: string;
};
/**
 * What each method of the API client resolves to. `status` is the HTTP status, or 0 without a response.
 */
export type APIResponse<Data = Record<string, any>> = {
    success: boolean;
    status: number;
    message: string;
    code: string;
    errors: Record<string, string[]>;
    data: Data;
};
export type APIOptions = {
    baseUrl?: string | undefined;
    csrfToken?: string | (() => string) | undefined;
    /**
     * default: "csrftoken"
     */
    csrfCookie?: string | undefined;
    headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>) | undefined;
    credentials?: RequestCredentials | undefined;
    fetch?: typeof fetch | undefined;
};
/**
 * An API client: PushNotificationAPI, MockPushNotificationAPI, or one of your own.
 */
export type PushAPI = Pick<PushNotificationAPI, "baseUrl" | "url" | "createSubscription" | "removeSubscription" | "getPreferences" | "updatePreferences" | "sendTestNotification" | "getConfig" | "makeRequest">;
export type ManagerOptions = {
    api?: PushAPI | undefined;
    publicKey?: string | undefined;
    /**
     * different for each signed-in user, "" if nobody is signed in
     */
    user?: string | (() => string | undefined) | undefined;
    /**
     * of the service worker; default: from the server
     */
    scope?: string | undefined;
    serviceWorkerUrl?: string | undefined;
    /**
     * replace a service worker that is not ours
     */
    replaceServiceWorker?: boolean | undefined;
    /**
     * end a subscription that another push provider created with your service worker
     */
    replaceSubscription?: boolean | undefined;
    /**
     * false: createPush() does not repair the subscription
     */
    repair?: boolean | undefined;
};
export type PushOptions = APIOptions & ManagerOptions;
export type TokenOptions = {
    subscriptionToken?: string;
};
export type RequestOptions = Omit<RequestInit, "headers"> & {
    headers?: Record<string, string>;
} & TokenOptions;
/**
 * The service worker's message about a notification.
 */
export type NotificationNews = {
    type: "webpush-kit:shown" | "webpush-kit:clicked";
    id: string;
    title: string;
    data: Record<string, unknown> | null;
    url: string;
    action: string;
};
/**
 * A click will navigate this page. Call `preventDefault()` synchronously if your router navigates instead.
 */
export type PushNavigation = {
    url: string;
    preventDefault: () => void;
};
export type PushEvents = {
    change: PushState;
    error: PushError;
    shown: NotificationNews;
    clicked: NotificationNews;
    navigate: PushNavigation;
};
/**
 * The stored state of the browser's subscription. `user` is its owner, `asked` the signed-in user at the last request
 * to the server.
 */
export type Memory = {
    endpoint?: string | undefined;
    key?: string | undefined;
    user?: string | undefined;
    asked?: string | undefined;
    scope?: string | undefined;
    /**
     * milliseconds since the epoch
     */
    checked?: number | undefined;
    detached?: boolean | undefined;
    /**
     * the subscription token, where no worker can keep it
     */
    token?: string | undefined;
};
export type Found = {
    registration: ServiceWorkerRegistration;
    subscription: PushSubscription;
    known: Memory;
    isMoved: boolean;
};
