/** What JSDoc cannot say: the elements and events by name, for DOM and JSX. Written by hand; the others are generated. */
import type { WebPushToggle } from "./webpush-kit-elements.js";
import type { Preferences, PushError, PushNotificationManager, PushState } from "./webpush-kit.js";

interface ToggleProps {
  label?: string;
  push?: PushNotificationManager;
  preferences?: Preferences;
  class?: string;
  id?: string;
  children?: unknown;
  ref?: unknown;
  key?: string | number;
  [name: `text-${string}` | `data-${string}` | `aria-${string}` | `on${string}`]: unknown;
}

interface Elements {
  "webpush-toggle": ToggleProps;
}

declare global {
  interface HTMLElementTagNameMap {
    "webpush-toggle": WebPushToggle;
  }
  interface HTMLElementEventMap {
    "webpush-change": CustomEvent<{ state: PushState }>;
    "webpush-error": CustomEvent<{ error: PushError }>;
  }
  interface DocumentEventMap {
    "webpush-navigate": CustomEvent<{ url: string }>;
  }
  namespace JSX {
    interface IntrinsicElements extends Elements {}
  }
}

declare module "react" {
  namespace JSX {
    interface IntrinsicElements extends Elements {}
  }
}
