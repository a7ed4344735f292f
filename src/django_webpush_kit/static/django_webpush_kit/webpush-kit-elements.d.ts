// Generated from the JSDoc of the module by js/declarations.mjs: change that, not this.
/// <reference path="webpush-kit-dom.d.ts" preserve="true" />
/**
 * Add texts in a language, or change some of those that come with the package: `defineTexts("nl", { on: "Aan" })`.
 * @param {string} language such as "nl" or "pt-br"
 * @param {Texts} texts
 */
export function defineTexts(language: string, texts: Texts): void;
/** A switch for notifications in this browser. A `<button>` and a `[role=status]` inside are used as they are. */
export class WebPushToggle extends PushElement {
    static get observedAttributes(): string[];
    #private;
}
/** A preference centre: this browser, notification types, quiet hours, a test, and the user's other browsers. */
export class WebPushPreferences extends PushElement {
    static get observedAttributes(): string[];
    #private;
}
/**
 * A question before the browser's own: shown after a moment, once a session, and not again for a while after "not now".
 * Attributes: `delay` in seconds, `snooze-days`, `install`, `manual`, `inline`. Events: "webpush-shown" (detail
 * `{step}`) and "webpush-closed" (detail `{reason}`: "later", "done" or "closed").
 */
export class WebPushPrompt extends PushElement {
    static get observedAttributes(): string[];
    /**
     * What is shown: "ask", "blocked" (how to unblock), "ios" (how to add to the home screen), "done", "install"; "" for
     * nothing.
     */
    get step(): "" | PromptStep;
    /**
     * Show what helps now, whatever "not now" and earlier prompts say; nothing where nothing helps.
     * @returns {Promise<PromptStep | "">}
     */
    show(): Promise<PromptStep | "">;
    /** @param {"later" | "done" | "closed"} [reason] "later": not again for a while */
    close(reason?: "later" | "done" | "closed"): void;
    #private;
}
/**
 * nodes and texts, also nested; null and false are left out
 */
export type Child = any;
export type Kit = Pick<typeof import("./webpush-kit.js"), "defaultPush" | "PUSH_ERRORS" | "PushError">;
/**
 * by name; `{date}` stands for a date
 */
export type Texts = Record<string, string>;
export type KnownBrowser = {
    id: number | string;
    browser: string;
    created_at: string;
    is_current: boolean;
};
/**
 * what the server knows
 */
export type Known = {
    config: PushConfig;
    stored: Preferences;
    others: KnownBrowser[];
};
export type PromptStep = "ask" | "blocked" | "ios" | "done" | "install";
/** What all three are: an element with a manager, and preferences for a new subscription. */
declare class PushElement extends HTMLElement {
    /** @protected */
    protected get link(): Link;
    connectedCallback(): void;
    disconnectedCallback(): void;
    /**
     * @param {string} name
     * @param {string | null} before
     * @param {string | null} value
     */
    attributeChangedCallback(name: string, before: string | null, value: string | null): void;
    /** @protected */
    protected render(): void;
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
import type { PushConfig } from "./webpush-kit.js";
import type { Preferences } from "./webpush-kit.js";
/** What the elements have in common: the manager that one follows, its state and texts. */
declare class Link {
    /**
     * @param {HTMLElement} element
     * @param {() => void} render
     */
    constructor(element: HTMLElement, render: () => void);
    /** @type {PushNotificationManager | null} */
    push: PushNotificationManager | null;
    /** @type {Preferences | null} */
    preferences: Preferences | null;
    /** @type {PushState | "busy"} */
    state: PushState | "busy";
    /** @type {PushError | null} */
    error: PushError | null;
    language: string;
    isConnected: boolean;
    /** @type {Promise<void>} until the manager is there */
    ready: Promise<void>;
    element: HTMLElement;
    render: () => void;
    connect(): void;
    disconnect(): void;
    attach(): void;
    /** @param {(() => void)[]} stop what ends with the connection */
    keep(...stop: (() => void)[]): void;
    detach(): void;
    /** @param {any} manager */
    setPush(manager: any): void;
    translate(): Promise<void>;
    /**
     * @param {string} name
     * @param {string} [otherwise]
     */
    text(name: string, otherwise?: string): string;
    /** What is to be said of the state, or of what went wrong. */
    stateText(): string;
    /** Whether Arabic and the like is shown, where the page does not say so. */
    get dir(): "rtl" | null;
    /** @param {PushState | "busy"} state */
    setState(state: PushState | "busy"): void;
    /** @param {PushNotificationManager} push */
    refresh(push: PushNotificationManager): Promise<void>;
    /**
     * Subscribe or unsubscribe, at a click. Nothing is awaited before the call: the click's permission to ask would be spent.
     * @param {Preferences} preferences
     * @returns {Promise<boolean>} whether it worked
     */
    switch(preferences: Preferences): Promise<boolean>;
    /** @param {any} cause */
    setError(cause: any): void;
    /**
     * @param {string} name
     * @param {Record<string, unknown>} detail
     */
    tell(name: string, detail: Record<string, unknown>): void;
    /** Only what differs: each change wakes observers, the page's and ours. */
    reflect(): void;
    #private;
}
import type { PushState } from "./webpush-kit.js";
import type { PushNotificationManager } from "./webpush-kit.js";
import type { PushError } from "./webpush-kit.js";
export {};
