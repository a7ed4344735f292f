/** What JSDoc cannot say: the elements and events by name, for DOM and JSX. Written by hand; the others are generated. */
import type { PromptStep, WebPushPreferences, WebPushPrompt, WebPushToggle } from "./webpush-kit-elements.js";
import type { Preferences, PushError, PushNotificationManager, PushState } from "./webpush-kit.js";

interface ElementProps {
  push?: PushNotificationManager;
  preferences?: Preferences;
  class?: string;
  id?: string;
  children?: unknown;
  ref?: unknown;
  key?: string | number;
  [name: `text-${string}` | `data-${string}` | `aria-${string}` | `on${string}`]: unknown;
}

interface ToggleProps extends ElementProps {
  label?: string;
}

interface StyledProps extends ElementProps {
  theme?: "light" | "dark" | "auto";
  lang?: string;
}

interface PromptProps extends StyledProps {
  delay?: number | string;
  "snooze-days"?: number | string;
  install?: boolean;
  manual?: boolean;
  inline?: boolean;
}

interface Elements {
  "webpush-toggle": ToggleProps;
  "webpush-preferences": StyledProps;
  "webpush-prompt": PromptProps;
}

declare global {
  interface HTMLElementTagNameMap {
    "webpush-toggle": WebPushToggle;
    "webpush-preferences": WebPushPreferences;
    "webpush-prompt": WebPushPrompt;
  }
  interface HTMLElementEventMap {
    "webpush-change": CustomEvent<{ state: PushState }>;
    "webpush-error": CustomEvent<{ error: PushError }>;
    "webpush-saved": CustomEvent<{ preferences: Preferences }>;
    "webpush-removed": CustomEvent<{ id: number | string }>;
    "webpush-shown": CustomEvent<{ step: PromptStep }>;
    "webpush-closed": CustomEvent<{ reason: "later" | "done" | "closed" }>;
  }
  interface DocumentEventMap {
    "webpush-navigate": CustomEvent<{ url: string }>;
  }
  namespace JSX {
    interface IntrinsicElements extends Elements {}
  }
}

// @ts-ignore: projects without React have no such module
declare module "react" {
  namespace JSX {
    interface IntrinsicElements extends Elements {}
  }
}

type VueComponents = { [Name in keyof Elements]: new () => { $props: Elements[Name] } };

// @ts-ignore: projects without Vue have no such module
declare module "vue" {
  interface GlobalComponents extends VueComponents {}
}
