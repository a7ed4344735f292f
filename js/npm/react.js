/**
 * A hook for React 18 and later: `const { state, busy, error, subscribe, unsubscribe } = useWebPush();`
 */
import { useCallback, useEffect, useState } from "react";

import { defaultPush } from "./webpush-kit.js";

/** @import { Preferences, PushError, PushNotificationManager, PushState } from "./webpush-kit.js" */

/**
 * @typedef {object} WebPush
 * @property {PushState | null} state null until it is known, and on a server
 * @property {boolean} busy while subscribing or unsubscribing
 * @property {PushError | null} error of the last call, or of work in the background
 * @property {(preferences?: Preferences) => Promise<boolean>} subscribe call it within a click; resolves to whether it worked
 * @property {() => Promise<boolean>} unsubscribe
 */

/**
 * @param {PushNotificationManager} [push] default: the page's first manager
 * @returns {WebPush}
 */
export function useWebPush(push) {
  const [state, setState] = useState(/** @type {PushState | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {PushError | null} */ (null));

  useEffect(() => {
    const manager = push ?? defaultPush();
    let isMounted = true;
    const stops = [manager.on("change", setState), manager.on("error", setError)];
    manager.state().then(
      (known) => isMounted && setState(known),
      (failure) => isMounted && setError(failure),
    );
    return () => {
      isMounted = false;
      for (const stop of stops) stop();
    };
  }, [push]);

  const run = useCallback(
    async (/** @type {(manager: PushNotificationManager) => Promise<unknown>} */ call) => {
      setBusy(true);
      setError(null);
      try {
        // nothing is awaited before the call: the click's permission to ask would be spent
        await call(push ?? defaultPush());
        return true;
      } catch (failure) {
        setError(/** @type {PushError} */ (failure));
        return false;
      } finally {
        setBusy(false);
      }
    },
    [push],
  );

  return {
    state,
    busy,
    error,
    subscribe: useCallback((preferences) => run((manager) => manager.subscribe(preferences)), [run]),
    unsubscribe: useCallback(() => run((manager) => manager.unsubscribe()), [run]),
  };
}
