// Generated from the JSDoc of the module by js/declarations.mjs: change that, not this.
/// <reference path="webpush-kit-dom.d.ts" preserve="true" />
export class WebPushToggle extends HTMLElement {
    static get observedAttributes(): string[];
    connectedCallback(): void;
    disconnectedCallback(): void;
    /**
     * @param {string} name
     * @param {string | null} before
     * @param {string | null} value
     */
    attributeChangedCallback(name: string, before: string | null, value: string | null): void;
    /** What the attribute `state` says. */
    get state(): PushState | "busy";
    set push(manager: PushNotificationManager | null);
    /** The manager in use: the page's first unless another one is set. */
    get push(): PushNotificationManager | null;
    set preferences(preferences: Preferences);
    /** Preferences for a new subscription. */
    get preferences(): Preferences;
    #private;
}
export type Kit = Pick<typeof import("./webpush-kit.js"), "defaultPush" | "PUSH_ERRORS" | "PushError">;
import type { PushState } from "./webpush-kit.js";
import type { PushNotificationManager } from "./webpush-kit.js";
import type { Preferences } from "./webpush-kit.js";
