/**
 * The studio's own part. `{% webpush_kit_head %}` has loaded the module and `<webpush-toggle>`, the switch on the page
 * "Notifications"; `createPush()` keeps this browser's subscription in step with the server.
 */
import { createPush } from "../django_webpush_kit/webpush-kit.js";

const push = createPush();

document.getElementById("push-test")?.addEventListener("click", () => push.sendTestNotification().catch(tell));
document.addEventListener("webpush-error", ({ detail: { error } }) => tell(error));

function tell(error) {
  const place = document.getElementById("push-error");
  place.textContent = error.message;
  place.hidden = false;
}
