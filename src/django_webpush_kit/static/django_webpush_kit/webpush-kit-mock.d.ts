import { APIOptions, Preferences, PushConfig, PushNotificationAPI } from "./webpush-kit.js";

export class MockPushNotificationAPI extends PushNotificationAPI {
  constructor(options?: APIOptions & { /** milliseconds */ delay?: number; config?: Partial<PushConfig> });
  delayMilliseconds: number;
  config: Partial<PushConfig>;
  mockSubscriptions: Map<
    string,
    { id: number; subscription: PushSubscription | PushSubscriptionJSON; preferences: Preferences }
  >;
  nextId: number;
  delay(milliseconds: number): Promise<void>;
}
