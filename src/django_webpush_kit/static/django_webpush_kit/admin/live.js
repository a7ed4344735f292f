/**
 * The admin: previews that follow what is typed, and figures that refresh themselves. Every page works without it.
 *
 * The server renders both. A request for one is answered with a page that has an element `[data-webpush-kit-fragment]`,
 * which replaces the one on the page. Nothing is evaluated and no string is turned into HTML here.
 */
(() => {
  const TYPING_DELAY_MS = 400;
  const RETRY_DELAY_MS = 15_000;
  const ANNOUNCE_DELAY_MS = 1500; // after the last change: a screen reader does not speak while somebody types
  const FRAGMENT = "[data-webpush-kit-fragment]";

  /**
   * @param {HTMLElement} place the element whose fragment is replaced
   * @param {string} method
   * @param {string} url
   * @param {FormData | null} body
   * @param {(fragment: Element | null) => void} done called with null if no fragment came
   * @returns {XMLHttpRequest} to abort it
   */
  function load(place, method, url, body, done) {
    const request = new XMLHttpRequest(); // parses the answer, which fetch() cannot
    request.responseType = "document";
    request.onloadend = () => {
      const fragment = request.status === 200 ? request.responseXML?.querySelector(FRAGMENT) : null;
      if (fragment) replace(place, fragment);
      done(fragment ?? null);
    };
    request.open(method, url);
    request.send(body);
    return request;
  }

  /**
   * @param {HTMLElement} place
   * @param {Element} fragment
   */
  function replace(place, fragment) {
    const old = place.querySelector(FRAGMENT);
    const focused = old?.contains(document.activeElement) ? document.activeElement : null;
    old?.replaceWith(fragment);
    if (!focused) return;
    const same = focused.id ? document.getElementById(focused.id) : null;
    if (!same && !place.hasAttribute("tabindex")) place.tabIndex = -1;
    (same ?? place).focus();
  }

  /**
   * Tell screen readers, once nothing more has changed for a while.
   * @param {HTMLElement} place has an element `[role=status]`, which is empty
   */
  function announcer(place) {
    let timer = 0;
    /** @param {string} text */
    return (text) => {
      const status = place.querySelector("[role=status]");
      if (!status) return;
      clearTimeout(timer);
      status.textContent = "";
      if (text) timer = setTimeout(() => (status.textContent = text), ANNOUNCE_DELAY_MS);
    };
  }

  /** @param {Element | null} fragment */
  const summary = (fragment) => fragment?.getAttribute("data-summary") ?? "";

  /** @param {HTMLElement} place */
  function follow(place) {
    const form = place.closest("form");
    const url = place.dataset.webpushKitPreview;
    if (!form || !url) return;
    /** @type {XMLHttpRequest | undefined} */
    let running;
    let timer = 0;
    const announce = announcer(place);
    const update = () => {
      if (running) running.onloadend = null;
      running?.abort();
      running = load(place, "POST", url, new FormData(form), (fragment) => {
        place.classList.toggle("webpush-kit-stale", !fragment);
        announce(fragment ? summary(fragment) : (place.dataset.failed ?? ""));
      });
    };
    const schedule = () => {
      clearTimeout(timer);
      announce("");
      timer = setTimeout(update, TYPING_DELAY_MS);
    };
    form.addEventListener("input", schedule);
    form.addEventListener("change", schedule);
  }

  /** @param {HTMLElement} place */
  function refresh(place) {
    const url = place.dataset.webpushKitRefresh;
    const delay = Number(place.dataset.seconds) * 1000;
    const isStale = place.querySelector("[data-stale]") !== null; // to be replaced at once
    if (!url || !(isStale || place.querySelector("[data-live]"))) return;
    const announce = announcer(place);
    let state = summary(place.querySelector(FRAGMENT));
    const again = () => {
      if (document.hidden) {
        document.addEventListener("visibilitychange", again, { once: true });
        return;
      }
      load(place, "GET", url, null, (fragment) => {
        place.classList.toggle("webpush-kit-stale", !fragment);
        if (fragment && summary(fragment) !== state) {
          state = summary(fragment);
          announce(state);
        }
        if (!fragment) setTimeout(again, RETRY_DELAY_MS);
        else if (place.querySelector("[data-live]")) setTimeout(again, delay);
      });
    };
    setTimeout(again, isStale ? 0 : delay);
  }

  const start = () => {
    for (const place of document.querySelectorAll("[data-webpush-kit-preview]")) {
      follow(/** @type {HTMLElement} */ (place));
    }
    for (const place of document.querySelectorAll("[data-webpush-kit-refresh]")) {
      refresh(/** @type {HTMLElement} */ (place));
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
