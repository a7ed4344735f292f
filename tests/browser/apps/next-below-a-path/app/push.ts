import { createPush } from "django-webpush-kit";
import { MockPushNotificationAPI } from "django-webpush-kit/mock";
import { authorization, userId } from "./session";

const usesMock = process.env.NEXT_PUBLIC_USE_MOCK_API === "true";

export const push = createPush({
  baseUrl: "/shop/api/v1/push/",
  publicKey: process.env.NEXT_PUBLIC_VAPID_KEY,
  serviceWorkerUrl: "/shop/service-worker.js",
  scope: "/shop/",
  user: userId,
  headers: authorization,
  api: usesMock ? new MockPushNotificationAPI({ fail: codeToFailWith }) : undefined,
});

/** Open the page with ?fail=network_error to see what it says then. */
function codeToFailWith() {
  return new URLSearchParams(location.search).get("fail") ?? "";
}
