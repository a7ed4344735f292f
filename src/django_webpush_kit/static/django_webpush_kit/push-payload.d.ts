/** The JSON that one push carries. Generated from the options of `send()`: run `python -m tests.generated`. */
export interface PushPayload {
  id: string;
  token: string;
  /** The URL that takes reports. */
  events?: string;
  notification: PushNotificationMembers;
  app_badge?: number;
  /** Present in Declarative Web Push messages. */
  web_push?: 8030;
  mutable?: true;
}

export interface PushNotificationMembers {
  title: string;
  body?: string;
  navigate?: string;
  icon?: string;
  badge?: string;
  image?: string;
  tag?: string;
  lang?: string;
  dir?: "auto" | "ltr" | "rtl";
  silent?: boolean;
  requireInteraction?: boolean;
  renotify?: boolean;
  vibrate?: number[];
  timestamp?: number;
  actions?: PushAction[];
  data?: Record<string, unknown>;
  /** Beside the ones of the payload, for older Safaris. */
  app_badge?: number;
  mutable?: true;
}

export interface PushAction {
  action: string;
  title: string;
  icon?: string;
  navigate?: string;
}
