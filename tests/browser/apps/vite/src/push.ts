import { createPush } from "django-webpush-kit";
import { MockPushNotificationAPI } from "django-webpush-kit/mock";
import { authorization, userId } from "./session";

const usesMock = import.meta.env.VITE_USE_MOCK_API === "true";

export const push = createPush({
  baseUrl: `${import.meta.env.VITE_API_URL ?? ""}/api/v1/push/`,
  serviceWorkerUrl: `${import.meta.env.BASE_URL}service-worker.js`,
  scope: import.meta.env.BASE_URL,
  user: userId,
  headers: authorization,
  api: usesMock ? new MockPushNotificationAPI({ fail: codeToFailWith }) : undefined,
});

/** Open the page with ?fail=network_error to see what it says then. */
function codeToFailWith() {
  return new URLSearchParams(location.search).get("fail") ?? "";
}
