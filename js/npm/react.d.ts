// Generated from the JSDoc of the module by js/declarations.mjs: change that, not this.
/** @import { Preferences, PushError, PushNotificationManager, PushState } from "./webpush-kit.js" */
/**
 * @typedef {object} WebPush
 * @property {PushState | null} state null until it is known, and on a server
 * @property {boolean} busy while subscribing or unsubscribing
 * @property {PushError | null} error of the last call, or of work in the background
 * @property {(preferences?: Preferences) => Promise<boolean>} subscribe call it within a click; resolves to whether it worked
 * @property {() => Promise<boolean>} unsubscribe
 */
/**
 * @param {PushNotificationManager} [push] default: the page's first manager
 * @returns {WebPush}
 */
export function useWebPush(push?: PushNotificationManager): WebPush;
export type WebPush = {
    /**
     * null until it is known, and on a server
     */
    state: PushState | null;
    /**
     * while subscribing or unsubscribing
     */
    busy: boolean;
    /**
     * of the last call, or of work in the background
     */
    error: PushError | null;
    /**
     * call it within a click; resolves to whether it worked
     */
    subscribe: (preferences?: Preferences) => Promise<boolean>;
    unsubscribe: () => Promise<boolean>;
};
import type { PushNotificationManager } from "./webpush-kit.js";
import type { PushState } from "./webpush-kit.js";
import type { PushError } from "./webpush-kit.js";
import type { Preferences } from "./webpush-kit.js";
