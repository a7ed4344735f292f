export type PushState = "unsupported" | "needs-install" | "denied" | "off" | "on";

export interface QuietHours {
  enabled: boolean;
  /** "22:00" */
  start: string;
  end: string;
  timezone?: string;
}

export interface Preferences {
  categories?: Record<string, boolean>;
  quiet_hours?: QuietHours;
  [name: string]: unknown;
}

export interface PushConfig {
  success: true;
  public_key: string;
  types: Record<string, { label: string; default: boolean }>;
  urls: Partial<Record<"subscribe" | "unsubscribe" | "preferences" | "test" | "events" | "service_worker", string>>;
  service_worker_scope?: string;
}

export interface SubscriptionAnswer {
  success: boolean;
  subscription_id: number;
  subscription_token?: string;
}

export interface APIResponse<Data = Record<string, unknown>> {
  success: boolean;
  /** The HTTP status; 0 without an answer. */
  status: number;
  message: string;
  code: string;
  errors: Record<string, string[]>;
  data: Data;
}

export interface APIOptions {
  baseUrl?: string;
  csrfToken?: string | (() => string);
  csrfCookie?: string;
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  credentials?: RequestCredentials;
  fetch?: typeof fetch;
}

export interface PushOptions extends APIOptions {
  api?: PushNotificationAPI;
  publicKey?: string;
  /** Differs from one signed-in user to the next. */
  user?: string;
  scope?: string;
  serviceWorkerUrl?: string;
  /** Take the place of a service worker that is not ours. */
  replaceServiceWorker?: boolean;
  /** false: createPush() does not repair by itself. */
  repair?: boolean;
}

export interface RequestOptions extends RequestInit {
  subscriptionToken?: string;
  headers?: Record<string, string>;
}

/** What the service worker tells of a notification. */
export interface NotificationNews {
  type: "webpush-kit:shown" | "webpush-kit:clicked";
  id: string;
  title: string;
  data: Record<string, unknown> | null;
  url: string;
  action: string;
}

export interface PushEvents {
  change: PushState;
  error: PushError;
  shown: NotificationNews;
  clicked: NotificationNews;
}

export class PushError extends Error {
  constructor(
    code: string,
    message?: string,
    details?: { status?: number; errors?: Record<string, string[]>; cause?: unknown },
  );
  code: string;
  status: number;
  errors: Record<string, string[]>;
}

export class PushNotificationAPI {
  constructor(options?: APIOptions);
  options: APIOptions;
  baseUrl: string;
  createSubscription(
    subscription: PushSubscription | PushSubscriptionJSON,
    preferences?: Preferences,
    details?: { oldEndpoint?: string; subscriptionToken?: string },
  ): Promise<APIResponse<SubscriptionAnswer>>;
  removeSubscription(endpoint: string, details?: { subscriptionToken?: string }): Promise<APIResponse>;
  getPreferences(
    endpoint: string,
    details?: { subscriptionToken?: string },
  ): Promise<APIResponse<{ preferences: Preferences }>>;
  updatePreferences(
    endpoint: string,
    preferences: Preferences,
    details?: { subscriptionToken?: string },
  ): Promise<APIResponse>;
  sendTestNotification(endpoint: string, details?: { subscriptionToken?: string }): Promise<APIResponse>;
  getConfig(): Promise<APIResponse<PushConfig>>;
  url(path: string): string;
  makeRequest(path: string, init?: RequestOptions): Promise<APIResponse>;
}

export class PushNotificationIntegration {
  static api: PushNotificationAPI | null;
  static setupSubscription(
    subscription: PushSubscription,
    preferences?: Preferences,
  ): Promise<{ success: boolean; error: string }>;
}

export class PushNotificationManager {
  constructor(options?: PushOptions);
  options: PushOptions;
  api: PushNotificationAPI;
  state(): Promise<PushState>;
  subscription(): Promise<PushSubscription | null>;
  subscribe(preferences?: Preferences): Promise<SubscriptionAnswer>;
  unsubscribe(): Promise<void>;
  detach(): Promise<void>;
  preferences(): Promise<Preferences>;
  updatePreferences(preferences: Preferences): Promise<Record<string, unknown>>;
  sendTestNotification(): Promise<Record<string, unknown>>;
  repair(options?: { force?: boolean }): Promise<"nothing" | "fresh" | "renewed" | "resent">;
  config(): Promise<PushConfig>;
  on<Name extends keyof PushEvents>(name: Name, listener: (detail: PushEvents[Name]) => void): () => void;
  report(error: Error): void;
}

export function createPush(options?: PushOptions): PushNotificationManager;
export function defaultPush(): PushNotificationManager;
export function arrayBufferToBase64(buffer: ArrayBuffer): string;
export function base64ToUint8Array(text: string): Uint8Array<ArrayBuffer>;
export function isSupported(): boolean;
export function needsInstall(): boolean;
