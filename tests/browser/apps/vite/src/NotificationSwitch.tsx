import { useWebPush } from "django-webpush-kit/react";
import { push } from "./push";

export function NotificationSwitch() {
  const { state, busy, error, subscribe, unsubscribe } = useWebPush(push);
  if (state === null || state === "unsupported") return null;
  return (
    <p>
      <button type="button" disabled={busy} onClick={() => (state === "on" ? unsubscribe() : subscribe())}>
        {state === "on" ? "Turn notifications off" : "Turn notifications on"}
      </button>
      {error && <span role="status">{error.message}</span>}
    </p>
  );
}
