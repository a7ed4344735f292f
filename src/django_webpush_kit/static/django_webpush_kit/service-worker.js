/**
 * django-webpush-kit: the service worker. Shows what is pushed, reports what became of it, keeps the subscription alive.
 *
 * Works as a site's own worker and through `importScripts()` in a worker the site already has. Settings come from, the
 * later winning: query parameters of the worker's own URL, what a page handed over ("webpush-kit:configure"),
 * `self.WEBPUSH_KIT`. All are optional:
 *
 *   baseUrl    where the HTTP API lives, such as "/api/v1/push/"
 *   publicKey  the VAPID public key, base64url
 *   title, icon, badge, url   used where a push brings none
 *   takeControl  true or false: skip waiting and claim pages. Default: only when this file is the worker itself.
 *
 * To the pages of the site it posts `{type: "webpush-kit:shown" | "webpush-kit:clicked", ...}`.
 */
(() => {
  "use strict";

  const SEEN_LIMIT = 1000; // payload ids remembered
  const REPORT_LIMIT = 200; // reports kept while the network is away
  const REPORT_BATCH = 50; // the most one request to `events` may carry
  const STORAGE_PATIENCE = 1000; // milliseconds; WebKit's IndexedDB has been seen to hang, and a push must be shown
  const NETWORK_PATIENCE = 15000; // milliseconds
  const MOMENT = 1000; // milliseconds
  const SETTINGS = ["baseUrl", "publicKey", "title", "icon", "badge", "url"];
  const HANDED_OVER = ["baseUrl", "publicKey", "subscriptionToken", "endpoint", "language"];
  const SYNC_TAG = "webpush-kit";

  const isMainScript = runsAsMainScript();

  self.addEventListener("install", (event) => {
    if (takesControl()) event.waitUntil(self.skipWaiting());
  });
  self.addEventListener("activate", (event) => {
    if (takesControl()) event.waitUntil(self.clients.claim());
  });
  self.addEventListener("push", (event) => {
    const handled = onPush(event);
    event.waitUntil(handled);
    handled.then(
      (afterwards) => afterwards && setTimeout(afterwards, MOMENT),
      () => undefined,
    );
  });
  self.addEventListener("notificationclick", (event) => event.waitUntil(onClick(event)));
  self.addEventListener("notificationclose", (event) => event.waitUntil(onClose(event)));
  self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(onSubscriptionChange(event)));
  self.addEventListener("message", (event) => {
    const answer = MESSAGES[event.data?.type];
    if (!answer) return;
    const replied = answer(event.data).then((reply) => event.ports[0]?.postMessage(reply));
    event.waitUntil(replied.then(catchUp));
  });
  self.addEventListener("sync", (event) => {
    if (event.tag === SYNC_TAG) event.waitUntil(catchUp());
  });

  // --- Push: show first, report after ---------------------------------------------------------------------------

  async function onPush(event) {
    const message = readMessage(event);
    const { isNew, afterwards } = await inTurn(message.id, () => showOnce(message));
    const news = isNew ? [setBadge(message.appBadge), tellPages("webpush-kit:shown", message)] : [];
    await Promise.allSettled([...news, report(message, "delivered")]);
    return afterwards;
  }

  /**
   * Shows a push, and a repeated one as little as the browser allows. Resolves to `{isNew, afterwards}`: whether it is no
   * repeat, and what is to be done a moment after the event has ended, if anything.
   *
   * Repeats are rare (a sender that died between the push service's answer and its own note of it). They must not alert
   * again, nor bring back what the user has dealt with, but browsers want something shown for every push:
   *
   * - Firefox draws on a quota of up to 16 such pushes, restored by a visit: nothing is shown.
   * - Chromium looks, when the event has ended, for a notification of this worker or a visible page of the site. Without
   *   either it shows a line of its own (measured with 156), so ours is shown silently and taken away after that look.
   * - WebKit wants showNotification() called in each event (about the third push without costs the permission) and
   *   `tag` replaces nothing there: silently in the place of the one on screen, else shown and closed at once. iOS does
   *   not know `silent`, so there a repeat may be noticed. Browsers we do not know are treated like this too.
   *
   * The id is noted after showing: a worker killed in between shows again, under the same tag, rather than never.
   */
  async function showOnce(message) {
    if (message.id && (await read("seen"))?.includes(message.id)) {
      return { isNew: false, afterwards: await showRepeated(message) };
    }
    await show(message);
    if (message.id) await update("seen", (ids = []) => [...ids, message.id].slice(-SEEN_LIMIT));
    return { isNew: true, afterwards: null };
  }

  async function showRepeated(message) {
    const { userAgent } = self.navigator;
    if (/Firefox\//.test(userAgent)) return null;
    const isChromium = /Chrome\//.test(userAgent);
    const onScreen = await self.registration.getNotifications();
    if (isChromium && (onScreen.length || (await isPageVisible()))) return null;
    const former = onScreen.filter((one) => ours(one)?.id === message.id);
    former.forEach(closeUnreported);
    await show(message, { silent: true, renotify: false, vibrate: undefined });
    if (former.length) return null;
    const takeAway = async () => (await shownAs(message.id)).forEach(closeUnreported);
    return isChromium ? takeAway : takeAway();
  }

  async function isPageVisible() {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    return pages.some((page) => page.visibilityState === "visible");
  }

  async function show({ id, title, options }, changes = {}) {
    try {
      // Firefox fires "notificationclose" for what a newer one with the same tag replaces: nobody dismissed that.
      if (options.tag !== id) (await shownUnder(options.tag)).forEach((one) => closedHere.add(ours(one).id));
      await self.registration.showNotification(title, { ...options, ...changes });
    } catch {
      // One member the browser refuses must not cost the whole notification.
      const { body, tag, data } = options;
      await self.registration.showNotification(title, { body, tag, data, ...(changes.silent && { silent: true }) });
    }
  }

  async function shownAs(id) {
    return (await self.registration.getNotifications()).filter((one) => ours(one)?.id === id);
  }

  async function shownUnder(tag) {
    return tag ? (await self.registration.getNotifications({ tag })).filter(ours) : [];
  }

  const turns = new Map();

  /** Runs `task` after every earlier one for the same id: two copies may arrive at the same moment. */
  async function inTurn(id, task) {
    const turn = (turns.get(id) ?? Promise.resolve()).then(task, task);
    turns.set(id, turn);
    try {
      return await turn;
    } finally {
      if (turns.get(id) === turn) turns.delete(id);
    }
  }

  /**
   * The push as one flat value. Copes with no data at all, text, JSON of another sender (`{title, body, url}`) and, from
   * WebKit's declarative push, the notification the browser would have shown in place of data.
   */
  function readMessage(event) {
    const { payload, text } = parse(event.data);
    const proposed = event.notification ?? null;
    const sources = [payload.notification, proposed, payload];
    const source = sources.find((one) => typeof one?.title === "string" && one.title) ?? { body: text };
    const kit = source.data?.webpush_kit ?? {};
    const id = asText(payload.id ?? kit.id ?? proposed?.tag);
    const known = {
      id,
      token: asText(payload.token ?? kit.token),
      events: safeUrl(payload.events ?? kit.events),
      navigate: safeUrl(source.navigate ?? kit.navigate ?? source.url ?? source.data?.url),
      actions: {},
    };
    for (const { action, navigate } of asList(source.actions)) known.actions[action] = safeUrl(navigate);
    return {
      ...known,
      title: source.title || setting("title") || self.location.hostname,
      options: displayOptions(source, known),
      data: source.data ?? null,
      appBadge: payload.app_badge ?? event.appBadge,
    };
  }

  function parse(data) {
    if (!data) return { payload: {}, text: "" };
    try {
      const payload = data.json();
      return { payload: isObject(payload) ? payload : {}, text: "" };
    } catch {
      return { payload: {}, text: data.text().slice(0, 500) };
    }
  }

  /** What showNotification() takes; members the push did not bring are left out. */
  function displayOptions(source, known) {
    const tag = asText(source.tag) || known.id;
    const silent = typeof source.silent === "boolean" ? source.silent : undefined;
    const options = {
      body: asText(source.body),
      lang: asText(source.lang),
      dir: asText(source.dir),
      tag,
      icon: safeUrl(source.icon) || safeUrl(setting("icon")),
      badge: safeUrl(source.badge) || safeUrl(setting("badge")),
      image: safeUrl(source.image),
      silent,
      requireInteraction: source.requireInteraction === true || undefined,
      renotify: (source.renotify === true && tag !== "") || undefined, // a TypeError without a tag
      vibrate: silent ? undefined : asList(source.vibrate, "number"), // a TypeError when silent
      timestamp: typeof source.timestamp === "number" ? source.timestamp : undefined,
      actions: asList(source.actions).map(({ action, title, icon }) => ({
        action: asText(action),
        title: asText(title),
        icon: safeUrl(icon),
      })),
      data: { ...(isObject(source.data) ? source.data : {}), webpush_kit: known },
    };
    const empty = (value) => value === undefined || value === "" || (Array.isArray(value) && !value.length);
    return Object.fromEntries(Object.entries(options).filter(([, value]) => !empty(value)));
  }

  async function setBadge(count) {
    if (!Number.isInteger(count) || count < 0 || !self.navigator.setAppBadge) return;
    await (count ? self.navigator.setAppBadge(count) : self.navigator.clearAppBadge());
  }

  // --- Clicks and dismissals --------------------------------------------------------------------------------------

  const closedHere = new Set(); // ids of notifications this worker closed or replaced: no dismissals

  /** An action without a URL of its own opens the notification's; the action named "dismiss" opens nothing. */
  async function onClick({ notification, action }) {
    const known = ours(notification);
    if (!known) return;
    closeUnreported(notification);
    const target = safeUrl(known.actions?.[action]) || safeUrl(known.navigate) || safeUrl(setting("url"));
    await Promise.allSettled([
      action === "dismiss" ? null : open(target || self.registration.scope),
      tellPages("webpush-kit:clicked", { ...known, ...textOf(notification) }, action),
      report(known, action ? "action_clicked" : "clicked", action),
    ]);
  }

  async function onClose({ notification }) {
    const known = ours(notification);
    if (known && !closedHere.delete(known.id)) await report(known, "dismissed");
  }

  function closeUnreported(notification) {
    closedHere.add(ours(notification).id);
    notification.close();
  }

  /** Shows `url` in the window of ours used last, or in a new one. `url` has passed safeUrl(). */
  async function open(url) {
    const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const pages = windows.filter((page) => page.frameType !== "nested");
    const there = pages.find((page) => page.url === url);
    if (there) return there.focus();
    for (const page of new URL(url).origin === self.location.origin ? pages : []) {
      // Navigate before focusing: focus() uses up the click's permission, and openWindow() would lack it. A page that
      // this worker does not control cannot be navigated.
      const moved = await page.navigate(url).then(
        (result) => result ?? page,
        () => null,
      );
      if (moved) return moved.focus();
    }
    return self.clients.openWindow(url);
  }

  /** What readMessage() attached to the notification; null for one that another script showed. */
  function ours(notification) {
    const known = notification.data?.webpush_kit;
    return isObject(known) ? known : null;
  }

  function textOf({ title, data }) {
    const { webpush_kit: _, ...rest } = isObject(data) ? data : {};
    return { title, data: rest };
  }

  async function tellPages(type, { id, title, data, navigate }, action = "") {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    for (const page of pages) page.postMessage({ type, id, title, data, url: navigate, action });
  }

  // --- Reports: kept until the server has them ----------------------------------------------------------------------

  async function report({ token, events }, action, actionId = "") {
    if (token) {
      const event = { token, action, timestamp: new Date().toISOString() };
      if (actionId) event.action_id = actionId;
      const entry = { key: JSON.stringify([token, action, actionId]), url: events, event };
      await update("reports", (queue = []) => [...without(queue, [entry]), entry].slice(-REPORT_LIMIT));
    }
    await catchUp();
  }

  let lastSending = Promise.resolve();

  /** Does what an earlier wake-up had to leave undone. One at a time, so that no report is sent twice at once. */
  function catchUp() {
    lastSending = lastSending.then(async () => {
      const done = [await sendReports(), await finishRepair()].every(Boolean);
      if (!done) await self.registration.sync?.register(SYNC_TAG);
    });
    lastSending = lastSending.catch(() => undefined);
    return lastSending;
  }

  /** False when reports are left that a later try may bring through. */
  async function sendReports() {
    const queue = (await read("reports")) ?? [];
    const fallback = (await apiUrl("events")) ?? "";
    const urlOf = (entry) => entry.url || fallback;
    for (const url of new Set(queue.map(urlOf).filter(Boolean))) {
      const waiting = queue.filter((entry) => urlOf(entry) === url);
      for (let start = 0; start < waiting.length; start += REPORT_BATCH) {
        if (!(await sendBatch(url, waiting.slice(start, start + REPORT_BATCH)))) return false;
      }
    }
    return true;
  }

  async function sendBatch(url, batch) {
    const status = await postJson(url, { events: batch.map((entry) => entry.event) }).then(
      (answer) => answer.status,
      () => 0,
    );
    if (isTemporary(status)) return false;
    if (status >= 400 && batch.length > 1) {
      // One bad report must not take the others with it.
      for (const entry of batch) if (!(await sendBatch(url, [entry]))) return false;
      return true;
    }
    await update("reports", (queue = []) => without(queue, batch));
    return true;
  }

  function without(queue, entries) {
    const keys = new Set(entries.map((entry) => entry.key));
    return queue.filter((entry) => !keys.has(entry.key));
  }

  // --- The subscription changed under us ------------------------------------------------------------------------------

  async function onSubscriptionChange(event) {
    const stored = await read("handed over");
    const oldEndpoint = event.oldSubscription?.endpoint ?? stored?.endpoint ?? "";
    await update("repair", (pending) => ({ oldEndpoint: pending?.oldEndpoint || oldEndpoint }));
    if (event.oldSubscription?.options?.applicationServerKey) {
      const publicKey = toBase64Url(event.oldSubscription.options.applicationServerKey);
      await update("handed over", (known) => ({ ...known, publicKey }));
    }
    await catchUp();
  }

  /** Subscribes anew and tells the server. False when a later try may succeed; kept pending until then. */
  async function finishRepair() {
    const pending = await read("repair");
    if (!pending) return true;
    try {
      const answer = await postSubscription(await currentSubscription(), pending.oldEndpoint);
      if (answer.code === "key_mismatch") {
        await (await self.registration.pushManager.getSubscription())?.unsubscribe();
        await postSubscription(await currentSubscription(), pending.oldEndpoint);
      }
    } catch (error) {
      // Without permission there is nothing to repair; a page takes over at the next visit.
      if (error.name !== "NotAllowedError") return false;
    }
    await update("repair", () => null);
    return true;
  }

  async function currentSubscription() {
    const present = await self.registration.pushManager.getSubscription();
    if (present) return present;
    const applicationServerKey = fromBase64Url(await publicKey());
    return self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  }

  async function publicKey() {
    const known = (await settings()).publicKey;
    if (known) return known;
    const answer = await fetch(await knownApiUrl("config"), { credentials: "omit", signal: patience() });
    return (await answer.json()).public_key;
  }

  /**
   * The server's answer as an object; throws when a later try may fare better. Without a token (never handed over, or
   * taken back at logout) only a page can vouch for this browser: nothing is sent, its next visit does it.
   */
  async function postSubscription(subscription, oldEndpoint) {
    const { subscriptionToken, language } = await settings();
    if (!subscriptionToken) return {};
    const { timeZone, locale } = Intl.DateTimeFormat().resolvedOptions();
    const answer = await postJson(
      await knownApiUrl("subscribe"),
      {
        subscription: subscription.toJSON(),
        old_endpoint: oldEndpoint || undefined,
        language: language || self.navigator.language || locale,
        timezone: timeZone,
      },
      { "X-Subscription-Token": subscriptionToken },
    );
    if (isTemporary(answer.status)) throw new Error(`subscribe answered ${answer.status}`);
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) {
      const { subscription_token: token = subscriptionToken } = body;
      await update("handed over", (known) => ({ ...known, subscriptionToken: token, endpoint: subscription.endpoint }));
    }
    return body;
  }

  // --- Messages from pages, settings -----------------------------------------------------------------------------------

  const MESSAGES = {
    /** Keeps what the page knows; a member that is null is forgotten. */
    async "webpush-kit:configure"(message) {
      const news = HANDED_OVER.filter((name) => typeof message[name] === "string" || message[name] === null);
      await update("handed over", (known) => ({
        ...known,
        ...Object.fromEntries(news.map((name) => [name, message[name]])),
      }));
      return { type: "webpush-kit:configured" };
    },
    async "webpush-kit:state"() {
      return { type: "webpush-kit:state", ...(await read("handed over")) };
    },
  };

  /** A setting that is known without waiting for the storage. */
  function setting(name) {
    return self.WEBPUSH_KIT?.[name] ?? new URLSearchParams(self.location.search).get(name) ?? undefined;
  }

  async function settings() {
    const given = SETTINGS.map((name) => [name, setting(name)]).filter(([, value]) => value !== undefined);
    return { ...(await read("handed over")), ...Object.fromEntries(given) };
  }

  async function apiUrl(name) {
    const { baseUrl } = await settings();
    return baseUrl ? new URL(name, new URL(baseUrl.replace(/\/*$/, "/"), self.location.origin)).href : null;
  }

  async function knownApiUrl(name) {
    const url = await apiUrl(name);
    if (!url) throw new Error("webpush-kit: baseUrl is not known yet");
    return url;
  }

  function takesControl() {
    return self.WEBPUSH_KIT?.takeControl ?? isMainScript;
  }

  /** Whether this file is the worker itself: the innermost script in the stack is then the worker's own URL. */
  function runsAsMainScript() {
    const innermost = /(https?:\/\/[^\s)]+?):\d+(?::\d+)?\)?$/m.exec(new Error().stack ?? "");
    return innermost?.[1] === self.location.href.replace(/#.*$/, "");
  }

  // --- State that outlives the worker: one object store, each key changed in one transaction ---------------------------

  let database = null;
  let storageHangs = false;
  const memory = new Map(); // stands in where the browser gives no storage

  const read = (key) => keep(key, null);
  const update = (key, change) => keep(key, change);

  /** The value of `key` after `change`, which gets the present value (undefined at first) and returns the new one. */
  async function keep(key, change) {
    let timer;
    const timeout = new Promise((_, reject) => {
      timer = setTimeout(() => reject((storageHangs = true)), STORAGE_PATIENCE);
    });
    try {
      if (storageHangs) throw new Error("waited for once already");
      return await Promise.race([transact(key, change), timeout]);
    } catch {
      if (change) memory.set(key, change(memory.get(key)));
      return memory.get(key);
    } finally {
      clearTimeout(timer);
    }
  }

  async function transact(key, change) {
    database ??= openDatabase();
    const transaction = (await database).transaction("state", change ? "readwrite" : "readonly");
    return new Promise((resolve, reject) => {
      const store = transaction.objectStore("state");
      const request = store.get(key);
      let value;
      request.onsuccess = () => {
        value = change ? change(request.result) : request.result;
        if (change) store.put(value, key);
      };
      transaction.oncomplete = () => resolve(value);
      transaction.onabort = () => reject(transaction.error);
    });
  }

  function openDatabase() {
    const forget = () => (database = null);
    return new Promise((resolve, reject) => {
      const request = self.indexedDB.open("webpush-kit", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("state");
      request.onsuccess = () => {
        request.result.onclose = forget;
        request.result.onversionchange = () => forget(request.result.close());
        resolve(request.result);
      };
      request.onerror = () => reject(forget() ?? request.error);
    });
  }

  // --- Small things --------------------------------------------------------------------------------------------------

  /**
   * `value` as an absolute URL, or "" when it is neither a path of this origin nor an https URL spelled out: refuses
   * javascript:, data:, blob:, `//evil`, `/\evil` and URLs with a user name, whatever white space hides them.
   */
  function safeUrl(value) {
    if (typeof value !== "string" || !value) return "";
    try {
      const url = new URL(value, self.location.origin);
      const here = url.origin === self.location.origin && /^https?:$/.test(url.protocol);
      const elsewhere = url.protocol === "https:" && /^https:\/\//i.test(value);
      return (here || elsewhere) && !url.username && !url.password ? url.href : "";
    } catch {
      return "";
    }
  }

  /** Without cookies: the body or a token header says all, and a session would ask for a CSRF token. */
  function postJson(url, body, headers = {}) {
    return fetch(url, {
      method: "POST",
      credentials: "omit",
      keepalive: true,
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
      signal: patience(),
    });
  }

  const patience = () => AbortSignal.timeout?.(NETWORK_PATIENCE);
  const isTemporary = (status) => status === 0 || status === 408 || status === 429 || status >= 500;
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const asText = (value) => (typeof value === "string" || typeof value === "number" ? String(value) : "");
  const asList = (value, type = "object") =>
    Array.isArray(value) ? value.filter((one) => one !== null && typeof one === type) : [];

  function toBase64Url(buffer) {
    return btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, "");
  }

  function fromBase64Url(text) {
    return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
  }
})();
