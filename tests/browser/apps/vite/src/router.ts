import { useSyncExternalStore } from "react";
import { push } from "./push";

const listeners = new Set<() => void>();

export function navigate(path: string) {
  history.pushState(null, "", path);
  for (const listener of listeners) listener();
}

export function usePath() {
  return useSyncExternalStore(subscribe, () => location.pathname);
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
  };
}

// a click on a notification: stay in this page instead of loading it anew
push.on("navigate", (navigation) => {
  navigation.preventDefault();
  const { pathname, search, hash } = new URL(navigation.url);
  navigate(pathname + search + hash);
});
