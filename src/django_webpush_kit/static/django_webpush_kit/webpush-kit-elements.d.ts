import { Preferences, PushError, PushNotificationManager, PushState } from "./webpush-kit.js";

export class WebPushToggle extends HTMLElement {
  push?: PushNotificationManager;
  preferences?: Preferences;
  readonly state: PushState | "busy";
  connectedCallback(): void;
  disconnectedCallback(): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "webpush-toggle": WebPushToggle;
  }
  interface HTMLElementEventMap {
    "webpush-change": CustomEvent<{ state: PushState }>;
    "webpush-error": CustomEvent<{ error: PushError }>;
  }
}
