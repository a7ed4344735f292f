/**
 * Everything the studio's pages need for push notifications: `createPush()` keeps this browser's subscription in step
 * with the server, the element `<webpush-toggle>` is the switch on the page "Notifications".
 */
import { createPush } from "../django_webpush_kit/webpush-kit.js";
import "../django_webpush_kit/webpush-kit-elements.js";

createPush();

document.addEventListener("webpush-error", ({ detail: { error } }) => {
  const place = document.getElementById("push-error");
  place.textContent = error.message;
  place.hidden = false;
});
