/**
 * django-webpush-kit: the service worker. Shows push messages, reports what happened to them, and keeps the
 * subscription alive.
 *
 * Use it as your site's own worker, or load it with `importScripts()` into a worker you already have. A setting is
 * taken from `self.WEBPUSH_KIT`, then from the query of the worker's URL, then from what a page sent
 * ("webpush-kit:configure"). All are optional:
 *
 *   baseUrl    URL of the HTTP API, such as "/api/v1/push/" or "https://api.example.com/push/"
 *   publicKey  VAPID public key, base64url
 *   title, icon, badge, url   defaults for push messages without them
 *   takeControl  true or false: skip waiting and claim open pages. Default: true only if this file is the worker.
 *
 * Your own code hooks in through `self.webpushKit`: `onPush(message)`, `onClick(message)`, `onClose(message)`.
 *
 * Messages to pages: "webpush-kit:shown", "webpush-kit:clicked", "webpush-kit:where", "webpush-kit:navigate".
 * Messages from pages: "webpush-kit:configure", "webpush-kit:state", "webpush-kit:hello".
 */
(() => {
  const SEEN_LIMIT = 1000; // message ids remembered
  const REPORT_LIMIT = 200; // reports kept while the server cannot be reached
  const REPORT_BATCH = 50; // the largest number of events in one request
  const UNKNOWN_URL_KEEP_MS = 3 * 24 * 60 * 60 * 1000; // how long a report survives answers of 404
  const STORAGE_TIMEOUT_MS = 3000; // WebKit's IndexedDB has been seen to hang, and a push must be shown
  const NETWORK_TIMEOUT_MS = 15000;
  const HOOK_TIMEOUT_MS = 3000;
  const REPEAT_CLOSE_DELAY_MS = 1000;
  const ASK_PAGE_TIMEOUT_MS = 300; // Firefox lets a click open or focus a window for one second
  const NAVIGATE_TIMEOUT_MS = 2000; // Firefox never answers navigate() to another fragment of the same page
  const CLICK_KEEP_MS = 30000; // how long an opened page may take to ask for the click that opened it
  const TEXT_LIMIT = 500; // characters shown of a message that is not ours
  const SETTINGS = ["baseUrl", "publicKey", "title", "icon", "badge", "url"];
  const PAGE_CONFIG_KEYS = ["baseUrl", "publicKey", "subscriptionToken", "endpoint", "language"];
  const SYNC_TAG = "webpush-kit";

  /**
   * @typedef {Record<string, any>} Json a value of untrusted JSON, read member by member
   *
   * Stored in a notification's `data`, so that a restarted worker can handle a click.
   * @typedef {object} KitData
   * @property {string} id unique; "" for messages of other senders
   * @property {string} token proves an event to the server; "" for messages of other senders
   * @property {string} events URL for reports
   * @property {string} navigate URL that a click opens
   * @property {Record<string, string>} actions URL by action
   *
   * A push message, as passed to hooks.
   * @typedef {object} PushMessage
   * @property {string} id
   * @property {string} title
   * @property {string} url opened by a click: a path of this site or an https URL
   * @property {Json} options the options of showNotification()
   * @property {Json | null} data your own data
   * @property {number} [appBadge]
   *
   * @typedef {object} Report
   * @property {string} key
   * @property {string} url
   * @property {Json} event
   * @property {number} since milliseconds since the epoch
   *
   * @typedef {object} WorkerOptions
   * @property {string} [baseUrl]
   * @property {string} [publicKey]
   * @property {string} [title]
   * @property {string} [icon]
   * @property {string} [badge]
   * @property {string} [url]
   * @property {boolean} [takeControl]
   *
   * @typedef {object} WorkerHooks
   * @property {(message: PushMessage) => any} [onPush] change the message, or return false to show nothing
   * @property {(message: PushMessage & {action: string}) => any} [onClick] return false to open nothing
   * @property {(message: PushMessage) => any} [onClose]
   *
   * An open page: where it is now, whether it runs our module, and whether this worker may navigate it.
   * @typedef {{client: WindowClient, href: string, answers: boolean, isControlled: boolean}} Page
   *
   * A recent click, which the page that it opens may ask for. `told` contains the ids of the pages that know it.
   * @typedef {{news: Json, url: string, told: Set<string>}} Click
   */

  const worker =
    /** @type {ServiceWorkerGlobalScope & {WEBPUSH_KIT?: WorkerOptions, webpushKit?: WorkerHooks}} */
    (/** @type {unknown} */ (self));

  const isMainScript = runsAsMainScript();
  worker.webpushKit ??= {};

  worker.addEventListener("install", (event) => {
    if (takesControl()) event.waitUntil(worker.skipWaiting());
  });
  worker.addEventListener("activate", (event) => {
    if (takesControl()) event.waitUntil(worker.clients.claim());
  });
  worker.addEventListener("push", (event) => {
    const handled = onPush(event);
    event.waitUntil(handled);
    handled.then(
      (afterwards) => afterwards && setTimeout(afterwards, REPEAT_CLOSE_DELAY_MS),
      () => undefined,
    );
  });
  worker.addEventListener("notificationclick", (event) => event.waitUntil(onClick(event)));
  worker.addEventListener("notificationclose", (event) => event.waitUntil(onClose(event)));
  worker.addEventListener("pushsubscriptionchange", (event) =>
    /** @type {ExtendableEvent} */ (event).waitUntil(onSubscriptionChange(/** @type {any} */ (event))),
  );
  worker.addEventListener("message", (event) => {
    const answer = MESSAGES[event.data?.type];
    if (!answer) return;
    const replied = answer(event.data, event).then((reply) => event.ports[0]?.postMessage(reply));
    event.waitUntil(replied.then(catchUp));
  });
  worker.addEventListener("sync", (event) => {
    const { tag } = /** @type {any} */ (event);
    if (tag === SYNC_TAG) /** @type {ExtendableEvent} */ (event).waitUntil(catchUp());
  });

  // --- Push: show first, report after ---------------------------------------------------------------------------

  /** @param {PushEvent} event */
  async function onPush(event) {
    const message = readMessage(event);
    const { isNew, afterwards } = await serialize(message.kit.id, () => showOnce(message));
    if (isNew) await Promise.allSettled([setBadge(message.appBadge), notifyPages("webpush-kit:shown", message)]);
    await catchUp();
    return afterwards;
  }

  /**
   * Show a push message. A repeated message is hidden as far as the browser allows. Resolves to `{isNew, afterwards}`:
   * whether it is shown for the first time, and a function to call shortly after the event has ended, or null.
   *
   * Repeats are rare: the sender crashed after the push service's response and before storing it. They must not alert
   * the user again or show a dismissed notification again, but browsers require a notification for every push:
   *
   * - Firefox allows up to 16 pushes without one; a visit of the site resets the quota. Nothing is shown.
   * - Chromium looks for a notification of this worker or a visible page of the site after the event. Without either
   *   it shows a generic notice (tested with 156), so we show ours silently and close it afterwards.
   * - WebKit requires a call of showNotification() in each event, or revokes the permission after about three pushes,
   *   and `tag` does not replace anything. We replace the visible notification silently, or show it and close it at
   *   once. iOS ignores `silent`, so users may notice a repeat. Unknown browsers are treated like WebKit.
   *
   * The order matters if the worker is killed: first show, then queue the report, then store the id. A repeat then has
   * the same tag and replaces the queued report, so it is not counted twice.
   *
   * @param {ReturnType<typeof readMessage>} message
   * @returns {Promise<{isNew: boolean, afterwards: (() => any) | null}>}
   */
  async function showOnce(message) {
    const { kit } = message;
    const mark = `${kit.events} ${kit.id}`;
    if (kit.id && (await getState("seen"))?.includes(mark)) {
      return { isNew: false, afterwards: await showRepeated(message) };
    }
    const isVetoed = (await callHook("onPush", message)) === false;
    if (!isVetoed) {
      await show(message);
      await queueReport(kit, "delivered");
    }
    if (kit.id) await updateState("seen", (ids = []) => [...ids, mark].slice(-SEEN_LIMIT));
    return { isNew: !isVetoed, afterwards: null };
  }

  /** @param {ReturnType<typeof readMessage>} message */
  async function showRepeated(message) {
    const { userAgent } = worker.navigator;
    if (/Firefox\//.test(userAgent)) return null;
    const isChromium = /Chrome\//.test(userAgent);
    const onScreen = await worker.registration.getNotifications();
    if (isChromium && (onScreen.length || (await isPageVisible()))) return null;
    const { id } = message.kit;
    const former = onScreen.filter((one) => kitData(one)?.id === id);
    former.forEach(closeUnreported);
    await show(message, { silent: true, renotify: false, vibrate: undefined });
    if (former.length) return null;
    const takeAway = async () => {
      const shown = await worker.registration.getNotifications();
      for (const one of shown) if (kitData(one)?.id === id) closeUnreported(one);
    };
    if (isChromium) return takeAway;
    await takeAway();
    return null;
  }

  async function isPageVisible() {
    return (await windows()).some((page) => page.visibilityState === "visible");
  }

  /**
   * @param {ReturnType<typeof readMessage>} message
   * @param {Json} [changes] options that replace those of the message
   */
  async function show({ kit, counted, title, url, options, data }, changes = {}) {
    // The server counts clicks that the browser handles without this worker, unless a hook changed the URL.
    const followed = safeUrl(url) === kit.navigate && counted ? counted : safeUrl(url);
    kit.navigate = safeUrl(url);
    // WebKit requires it for declarative pushes; other browsers ignore it
    const knowsNavigate = typeof Notification !== "undefined" && "navigate" in Notification.prototype;
    const navigate = knowsNavigate ? followed : "";
    /** @type {Json} */
    const all = { ...options, data: { ...(isObject(data) ? data : {}), webpush_kit: kit }, ...changes };
    try {
      // Firefox fires "notificationclose" for a notification replaced by its tag, which is not a dismissal
      if (all.tag !== kit.id) for (const one of await shownUnder(all.tag)) closedByWorker.add(kitData(one)?.id);
      await worker.registration.showNotification(title, onlyGiven({ ...all, navigate }));
    } catch {
      // the browser refuses an option: show the notification without it
      const { body, tag, silent } = all;
      const fewer = { body, tag, data: all.data, silent: silent || undefined, navigate };
      await worker.registration.showNotification(title, onlyGiven(fewer));
    }
  }

  /** @param {string} [tag] */
  async function shownUnder(tag) {
    return tag ? (await worker.registration.getNotifications({ tag })).filter(kitData) : [];
  }

  /** @type {Map<string, Promise<any>>} */
  const turns = new Map();

  /**
   * Run `task` after earlier tasks with the same id, because two copies may arrive at the same time.
   * @template T
   * @param {string} id
   * @param {() => Promise<T>} task
   * @returns {Promise<T>}
   */
  async function serialize(id, task) {
    const turn = (turns.get(id) ?? Promise.resolve()).then(task, task);
    turns.set(id, turn);
    try {
      return await turn;
    } finally {
      if (turns.get(id) === turn) turns.delete(id);
    }
  }

  /** @param {number | undefined} count */
  async function setBadge(count) {
    const { navigator } = worker;
    if (count === undefined || !navigator.setAppBadge) return;
    await (count ? navigator.setAppBadge(count) : navigator.clearAppBadge());
  }

  // --- Parsing push messages -----------------------------------------------------------------------------------

  /**
   * Parse a push message from any sender: this library, django-webpush (`{head, body, url}`), FCM (`{notification,
   * data, fcmOptions}` or only data), other JSON, text, no data, or the notification of a WebKit declarative push.
   * @param {PushEvent & {notification?: any, appBadge?: number}} event
   * @returns {PushMessage & {kit: KitData, counted: string}}
   */
  function readMessage(event) {
    const { payload, text } = parse(event.data);
    const proposed = event.notification;
    const source =
      [payload.notification, proposed, payload, payload.data, payload.message?.notification].find(
        (one) => isObject(one) && (titleOf(one) || bodyOf(one)),
      ) ?? (isObject(payload.notification) ? payload.notification : payload);
    const data = firstObject(source.data, payload.data);
    const envelope = isObject(data?.webpush_kit) ? data.webpush_kit : {};
    const token = asText(payload.token ?? envelope.token);
    const links = [
      envelope.navigate, // the page itself, where `source.navigate` counts the click and redirects
      source.navigate,
      ...[source, data ?? {}, payload].flatMap(({ url, link, click_action }) => [url, link, click_action]),
      payload.fcmOptions?.link,
      data?.onActionClick?.default?.url,
      payload.custom?.u,
    ];
    const kit = {
      // ids of other senders are not unique
      id: token ? asText(payload.id ?? envelope.id) : "",
      token,
      events: safeUrl(payload.events ?? envelope.events),
      navigate: links.map(safeUrl).find(Boolean) ?? "",
      actions: /** @type {Record<string, string>} */ ({}),
    };
    const isCounted = Boolean(envelope.navigate || envelope.actions);
    for (const { action, navigate, url } of asList(source.actions)) {
      kit.actions[action] = safeUrl(isCounted ? envelope.actions?.[action] : (navigate ?? url));
    }
    return {
      kit,
      counted: safeUrl(source.navigate),
      id: kit.id,
      title: titleOf(source) || setting("title") || worker.location.hostname,
      url: kit.navigate,
      options: displayOptions(source, kit.id, bodyOf(source) || text),
      data: data === payload ? null : (data ?? null),
      appBadge: [payload.app_badge, source.app_badge, event.appBadge].find(
        (count) => Number.isInteger(count) && count >= 0,
      ),
    };
  }

  /** @param {Json} source */
  const titleOf = (source) => firstText(source.title, source.head, source.heading, source.subject);

  /** @param {Json} source */
  const bodyOf = (source) => firstText(source.body, source.message, source.text, source.alert, source.content);

  /**
   * Return a JSON object, or text to show. Other JSON values are shown as text, JSON strings without quotes.
   * @param {PushMessageData | null} data
   * @returns {{payload: Json, text: string}}
   */
  function parse(data) {
    const text = data?.text() ?? "";
    let payload = null;
    try {
      payload = JSON.parse(text);
    } catch {
      return { payload: {}, text: text.slice(0, TEXT_LIMIT) };
    }
    if (isObject(payload)) return { payload, text: "" };
    return { payload: {}, text: payload === null ? "" : (asText(payload) || text).slice(0, TEXT_LIMIT) };
  }

  /**
   * Return the options of showNotification() without missing and malformed ones.
   * @param {Json} source
   * @param {string} id
   * @param {string} body
   */
  function displayOptions(source, id, body) {
    const tag = asText(source.tag) || id;
    const silent = typeof source.silent === "boolean" ? source.silent : undefined;
    return onlyGiven({
      body,
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
      actions: asList(source.actions).map(({ action, title, icon }) =>
        onlyGiven({ action: asText(action), title: asText(title), icon: safeUrl(icon) }),
      ),
    });
  }

  // --- Clicks and dismissals --------------------------------------------------------------------------------------

  /** @type {Set<string | undefined>} ids of notifications that this worker closed or replaced: not dismissals */
  const closedByWorker = new Set();

  /**
   * Open the clicked URL, and inform pages and the server. An action without a URL opens the notification's URL. The
   * action "dismiss" opens nothing.
   * @param {NotificationEvent} event
   */
  async function onClick({ notification, action }) {
    const kit = kitData(notification);
    if (!kit) return;
    closeUnreported(notification);
    const url =
      safeUrl(kit.actions?.[action]) || safeUrl(kit.navigate) || safeUrl(setting("url")) || worker.registration.scope;
    const message = { ...messageOf(notification, kit), action };
    const isHandled = action === "dismiss" || (await callHook("onClick", message)) === false;
    const click = { type: "webpush-kit:clicked", ...newsOf(message), url: kit.navigate };
    await Promise.allSettled([
      isHandled ? null : openAndTell(url, click),
      queueReport(kit, action ? "action_clicked" : "clicked", action).then(catchUp),
    ]);
  }

  /** @param {NotificationEvent} event */
  async function onClose({ notification }) {
    const kit = kitData(notification);
    if (!kit || closedByWorker.delete(kit.id)) return;
    await callHook("onClose", messageOf(notification, kit));
    await queueReport(kit, "dismissed");
    await catchUp();
  }

  /** @param {Notification} notification */
  function closeUnreported(notification) {
    closedByWorker.add(kitData(notification)?.id);
    notification.close();
  }

  /** @type {Click | null} */
  let lastClick = null;

  /**
   * Show `url` in a focused window, and inform all pages about the click, including a newly opened one.
   * @param {string} url checked by safeUrl()
   * @param {Json} news
   */
  async function openAndTell(url, news) {
    /** @type {Click} */
    const click = { news, url, told: new Set() };
    lastClick = click;
    setTimeout(() => lastClick === click && (lastClick = null), CLICK_KEEP_MS);
    for (const page of await windows()) tellClick(click, page);
    const opened = await open(url).catch(() => null);
    if (opened) tellClick(click, opened);
  }

  /**
   * @param {Click} click
   * @param {Client} page
   */
  function tellClick({ news, told }, page) {
    if (told.has(page.id)) return;
    told.add(page.id);
    page.postMessage(news);
  }

  /**
   * Focus a page that shows `url`; else focus another page and navigate it; else open a window. Focus before
   * navigating: browsers allow focus only for a short time after the click.
   * @param {string} url
   * @returns {Promise<WindowClient | null>} null if the page is unknown
   */
  async function open(url) {
    const pages = new URL(url).origin === worker.location.origin ? await findPages() : [];
    const there = pages.find((page) => page.href === url);
    const page = there ?? pages.find((page) => page.answers || page.isControlled);
    if (!page || !(await succeeds(page.client.focus()))) return worker.clients.openWindow(url);
    return there ? page.client : navigate(page, url);
  }

  /**
   * Return the open pages of this site, the most recently used first.
   * @returns {Promise<Page[]>}
   */
  async function findPages() {
    const controlled = new Set((await worker.clients.matchAll({ type: "window" })).map(({ id }) => id));
    const topLevel = (await windows()).filter((client) => client.frameType !== "nested");
    return Promise.all(
      topLevel.map(async (client) => {
        // `client.url` is the URL at load time; history.pushState() may have changed it
        const answer = await askPage(client, { type: "webpush-kit:where" }, ASK_PAGE_TIMEOUT_MS);
        const href = asText(answer?.href) || client.url;
        return { client, href, answers: Boolean(answer), isControlled: controlled.has(client.id) };
      }),
    );
  }

  /**
   * Navigate a focused page: its router, the page itself (fragments), or else the browser. If that fails, open a new
   * window.
   * @param {Page} page
   * @param {string} url
   * @returns {Promise<WindowClient | null>}
   */
  async function navigate({ client, answers, isControlled }, url) {
    if (answers) {
      const request = { type: "webpush-kit:navigate", url, isForced: !isControlled };
      const answer = await askPage(client, request, NAVIGATE_TIMEOUT_MS);
      if (answer?.isHandled) return client;
    }
    try {
      return (await withTimeout(client.navigate(url), NAVIGATE_TIMEOUT_MS)) ?? client;
    } catch {
      return worker.clients.openWindow(url);
    }
  }

  /**
   * Resolves to the page's answer, or null after the timeout.
   * @param {WindowClient} client
   * @param {Json} message
   * @param {number} timeout milliseconds
   * @returns {Promise<Json | null>}
   */
  function askPage(client, message, timeout) {
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise((resolve) => {
      port1.onmessage = ({ data }) => resolve(data);
      client.postMessage(message, [port2]);
    });
    return withTimeout(answer, timeout).finally(() => port1.close());
  }

  /**
   * What readMessage() attached to the notification; null if another script showed it.
   * @param {Notification} notification
   * @returns {KitData | null}
   */
  function kitData(notification) {
    const known = notification.data?.webpush_kit;
    return isObject(known) ? /** @type {KitData} */ (known) : null;
  }

  /**
   * @param {Notification} notification
   * @param {KitData} kit
   * @returns {PushMessage}
   */
  function messageOf({ title, body, tag, data }, kit) {
    const { webpush_kit: _, ...own } = isObject(data) ? data : /** @type {Json} */ ({});
    return { id: kit.id, title, url: kit.navigate, options: { body, tag }, data: own };
  }

  /** @param {Json} message */
  const newsOf = ({ id, title, data, url, action = "" }) => ({ id, title, data, url, action });

  /**
   * @param {string} type
   * @param {PushMessage} message
   */
  async function notifyPages(type, message) {
    for (const page of await windows()) page.postMessage({ type, ...newsOf(message) });
  }

  /** @returns {Promise<WindowClient[]>} */
  async function windows() {
    return [...(await worker.clients.matchAll({ type: "window", includeUncontrolled: true }))];
  }

  /**
   * Call a hook of the site. A hook that throws or takes too long is ignored.
   * @param {keyof WorkerHooks} name
   * @param {any} message
   */
  async function callHook(name, message) {
    const hook = worker.webpushKit?.[name];
    if (!hook) return undefined;
    try {
      return await withTimeout(Promise.resolve(hook(message)), HOOK_TIMEOUT_MS);
    } catch (error) {
      console.error(`webpushKit.${name}() failed:`, error);
      return undefined;
    }
  }

  // --- Reports: kept until the server has them ----------------------------------------------------------------------

  /**
   * @param {KitData} kit
   * @param {"delivered" | "clicked" | "action_clicked" | "dismissed"} action
   * @param {string} [actionId]
   */
  async function queueReport({ token, events }, action, actionId = "") {
    if (!token) return;
    /** @type {Json} */
    const event = { token, action, timestamp: new Date().toISOString() };
    if (actionId) event.action_id = actionId;
    const entry = { key: JSON.stringify([token, action, actionId]), url: events, event, since: Date.now() };
    await updateState("reports", (queue = []) => [...without(queue, [entry]), entry].slice(-REPORT_LIMIT));
  }

  /** @type {Promise<any>} */
  let lastSending = Promise.resolve();

  /** Retry unfinished work. One run at a time, so that no report is sent twice. */
  function catchUp() {
    lastSending = lastSending.then(async () => {
      const done = [await sendReports(), await finishRepair()].every(Boolean);
      if (!done) await /** @type {any} */ (worker.registration).sync?.register(SYNC_TAG);
    });
    lastSending = lastSending.catch(() => undefined);
    return lastSending;
  }

  /** Resolves to false if reports remain for a later retry. */
  async function sendReports() {
    /** @type {Report[]} */
    const queue = (await getState("reports")) ?? [];
    // this worker's own setting takes precedence, because the server may not know its public URL
    const known = (await apiUrl("events")) ?? "";
    const urlOf = (/** @type {Report} */ entry) => known || entry.url;
    let isDone = true;
    for (const url of new Set(queue.map(urlOf).filter(Boolean))) {
      const waiting = queue.filter((entry) => urlOf(entry) === url);
      for (let start = 0; start < waiting.length; start += REPORT_BATCH) {
        if (await sendBatch(url, waiting.slice(start, start + REPORT_BATCH))) continue;
        isDone = false;
        break;
      }
    }
    return isDone;
  }

  /**
   * @param {string} url
   * @param {Report[]} batch
   * @returns {Promise<boolean>}
   */
  async function sendBatch(url, batch) {
    const status = await postJson(url, { events: batch.map((entry) => entry.event) }).then(
      (answer) => answer.status,
      () => 0,
    );
    if (isTemporary(status)) return false;
    let finished = batch;
    if (status === 404) {
      // during a deployment, or with a URL that is not configured yet: no extra retry
      finished = batch.filter(({ since }) => Date.now() - (since ?? 0) > UNKNOWN_URL_KEEP_MS);
    } else if (status >= 400 && batch.length > 1) {
      // one invalid report must not affect the others
      for (const entry of batch) if (!(await sendBatch(url, [entry]))) return false;
      return true;
    }
    await updateState("reports", (queue = []) => without(queue, finished));
    return true;
  }

  /**
   * @param {Report[]} queue
   * @param {Report[]} entries
   */
  function without(queue, entries) {
    const keys = new Set(entries.map((entry) => entry.key));
    return queue.filter((entry) => !keys.has(entry.key));
  }

  // --- The browser replaced the subscription ------------------------------------------------------------------------

  /** @param {{oldSubscription?: PushSubscription | null}} event */
  async function onSubscriptionChange({ oldSubscription }) {
    const stored = await getState("page-config");
    const oldEndpoint = oldSubscription?.endpoint ?? stored?.endpoint ?? "";
    await updateState("repair", (pending) => ({ oldEndpoint: pending?.oldEndpoint || oldEndpoint }));
    const key = oldSubscription?.options?.applicationServerKey;
    if (key) await updateState("page-config", (known) => ({ ...known, publicKey: toBase64Url(key) }));
    await catchUp();
  }

  /** Subscribe again and inform the server. Resolves to false if it must be retried later. */
  async function finishRepair() {
    const pending = await getState("repair");
    if (!pending) return true;
    try {
      const answer = await postSubscription(await currentSubscription(), pending.oldEndpoint);
      if (answer.code === "key_mismatch") {
        await (await worker.registration.pushManager.getSubscription())?.unsubscribe();
        await postSubscription(await currentSubscription(), pending.oldEndpoint);
      }
    } catch (error) {
      // without permission nothing can be repaired; a page does it at the next visit
      if (/** @type {Error} */ (error).name !== "NotAllowedError") return false;
    }
    await updateState("repair", () => null);
    return true;
  }

  async function currentSubscription() {
    const present = await worker.registration.pushManager.getSubscription();
    if (present) return present;
    const applicationServerKey = fromBase64Url(await publicKey());
    return worker.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey });
  }

  async function publicKey() {
    const known = (await settings()).publicKey;
    if (known) return known;
    const answer = await fetch(await knownApiUrl("config"), { credentials: "omit", signal: timeoutSignal() });
    return (await answer.json()).public_key;
  }

  /**
   * Resolves to the server's response. Throws if a later retry may succeed. Without a token (none was received, or it
   * was removed at logout) only a page can authenticate this browser, so nothing is sent until the next visit.
   * @param {PushSubscription} subscription
   * @param {string} oldEndpoint
   * @returns {Promise<Json>}
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
        language: language || worker.navigator.language || locale,
        timezone: timeZone,
      },
      { "X-Subscription-Token": subscriptionToken },
    );
    if (isTemporary(answer.status)) throw new Error(`subscribe answered ${answer.status}`);
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) {
      const { subscription_token: token = subscriptionToken } = body;
      const { endpoint } = subscription;
      await updateState("page-config", (known) => ({ ...known, subscriptionToken: token, endpoint }));
    }
    return body;
  }

  // --- Messages from pages, settings --------------------------------------------------------------------------------

  /** @type {Record<string, (message: Json, event: ExtendableMessageEvent) => Promise<Json>>} */
  const MESSAGES = {
    /** Store the page's settings. A member that is null is deleted. */
    async "webpush-kit:configure"(message) {
      const news = PAGE_CONFIG_KEYS.filter((name) => typeof message[name] === "string" || message[name] === null);
      await updateState("page-config", (known) => ({
        ...known,
        ...Object.fromEntries(news.map((name) => [name, message[name]])),
      }));
      return { type: "webpush-kit:configured" };
    },
    /** Return the stored state. `isImported`: the site's own worker imports this file. */
    async "webpush-kit:state"() {
      return {
        type: "webpush-kit:state",
        ...(isMainScript ? {} : { isImported: true }),
        ...(await getState("page-config")),
      };
    },
    /** A new page asks for the click that opened it. */
    async "webpush-kit:hello"({ href }, { source }) {
      const page = /** @type {Client | null} */ (source);
      if (page && lastClick && lastClick.url === href) tellClick(lastClick, page);
      return { type: "webpush-kit:welcome" };
    },
  };

  /**
   * Return a setting that is available without reading the storage.
   * @param {string} name
   * @returns {string | undefined}
   */
  function setting(name) {
    const given = /** @type {Json | undefined} */ (worker.WEBPUSH_KIT);
    return given?.[name] ?? new URLSearchParams(worker.location.search).get(name) ?? undefined;
  }

  /** @returns {Promise<Json>} */
  async function settings() {
    const given = SETTINGS.map((name) => [name, setting(name)]).filter(([, value]) => value !== undefined);
    return { ...(await getState("page-config")), ...Object.fromEntries(given) };
  }

  /** @param {string} name */
  async function apiUrl(name) {
    const { baseUrl } = await settings();
    return baseUrl ? new URL(name, new URL(baseUrl.replace(/\/*$/, "/"), worker.location.origin)).href : null;
  }

  /** @param {string} name */
  async function knownApiUrl(name) {
    const url = await apiUrl(name);
    if (!url) throw new Error("webpush-kit: set self.WEBPUSH_KIT = {baseUrl: ...} or open a page that knows it");
    return url;
  }

  function takesControl() {
    return worker.WEBPUSH_KIT?.takeControl ?? isMainScript;
  }

  /** Return whether this file is the worker itself: then the innermost script in the stack is the worker's URL. */
  function runsAsMainScript() {
    const innermost = /(https?:\/\/[^\s)]+?):\d+(?::\d+)?\)?$/m.exec(new Error().stack ?? "");
    return innermost?.[1] === worker.location.href.replace(/#.*$/, "");
  }

  // --- Persistent state: a database per scope with one object store; each change is one transaction -----------------

  /** @type {Promise<IDBDatabase> | null} */
  let database = null;
  let storageHangs = false;
  /** @type {Map<string, any>} used while the browser has no storage */
  const memory = new Map();

  /** @param {string} key */
  const getState = (key) => withState(key, null);

  /**
   * @param {string} key
   * @param {(value: any) => any} change
   */
  const updateState = (key, change) => withState(key, change);

  /**
   * The value of `key` after `change`, which gets the present value (undefined at first) and returns the new one. A
   * storage that is late is not waited for twice; it still gets every change, in their order, once it answers.
   * @param {string} key
   * @param {((value: any) => any) | null} change
   */
  async function withState(key, change) {
    const stored = transact(key, change).then((value) => {
      storageHangs = false;
      memory.delete(key);
      return { value };
    });
    const answer = await withTimeout(stored, storageHangs ? 0 : STORAGE_TIMEOUT_MS).catch(() => "refused");
    if (answer instanceof Object) return answer.value;
    if (!answer) storageHangs = true;
    if (change) memory.set(key, change(memory.get(key)));
    return memory.get(key);
  }

  /**
   * @param {string} key
   * @param {((value: any) => any) | null} change
   */
  async function transact(key, change) {
    database ??= openDatabase();
    const transaction = (await database).transaction("state", change ? "readwrite" : "readonly");
    return new Promise((resolve, reject) => {
      const store = transaction.objectStore("state");
      const request = store.get(key);
      /** @type {any} */
      let value;
      request.onsuccess = () => {
        value = change ? change(request.result) : request.result;
        if (change) store.put(value, key);
      };
      transaction.oncomplete = () => resolve(value);
      transaction.onabort = () => reject(transaction.error);
    });
  }

  /** @returns {Promise<IDBDatabase>} */
  function openDatabase() {
    const forget = () => (database = null);
    return new Promise((resolve, reject) => {
      // all workers of an origin share its databases
      const request = worker.indexedDB.open(`webpush-kit ${worker.registration.scope}`, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("state");
      request.onsuccess = () => {
        request.result.onclose = forget;
        request.result.onversionchange = () => {
          forget();
          request.result.close();
        };
        resolve(request.result);
      };
      request.onerror = () => reject(forget() ?? request.error);
    });
  }

  // --- Utilities -----------------------------------------------------------------------------------------------------

  /**
   * Return an absolute URL for a path of this origin or a complete https URL, otherwise "". Refuses javascript:, data:,
   * blob:, `//evil`, `/\evil` and URLs with a user name, also if white space hides them.
   * @param {unknown} value
   * @returns {string}
   */
  function safeUrl(value) {
    if (typeof value !== "string" || !value) return "";
    try {
      const url = new URL(value, worker.location.origin);
      const here = url.origin === worker.location.origin && /^https?:$/.test(url.protocol);
      const elsewhere = url.protocol === "https:" && /^https:\/\//i.test(value);
      return (here || elsewhere) && !url.username && !url.password ? url.href : "";
    } catch {
      return "";
    }
  }

  /**
   * Send a request without cookies: the token is sufficient, and a session would require a CSRF token.
   * @param {string} url
   * @param {Json} body
   * @param {Record<string, string>} [headers]
   */
  function postJson(url, body, headers = {}) {
    return fetch(url, {
      method: "POST",
      credentials: "omit",
      keepalive: true,
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
      signal: timeoutSignal(),
    });
  }

  /**
   * Resolves to the result of `promise`, or to null after the timeout.
   * @template T
   * @param {Promise<T>} promise
   * @param {number} timeout milliseconds
   * @returns {Promise<T | null>}
   */
  async function withTimeout(promise, timeout) {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, timeout, null);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {Promise<unknown>} promise */
  const succeeds = (promise) =>
    promise.then(
      () => true,
      () => false,
    );

  const timeoutSignal = () => AbortSignal.timeout?.(NETWORK_TIMEOUT_MS);
  const isTemporary = (/** @type {number} */ status) =>
    status === 0 || status === 408 || status === 429 || status >= 500;

  /** @type {(value: unknown) => value is Json} */
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  const firstObject = (/** @type {unknown[]} */ ...values) => values.find(isObject);
  const asText = (/** @type {unknown} */ value) =>
    typeof value === "string" || typeof value === "number" ? String(value) : "";
  const firstText = (/** @type {unknown[]} */ ...values) => values.map(asText).find(Boolean) ?? "";

  /**
   * @param {unknown} value
   * @param {string} [type]
   * @returns {any[]}
   */
  const asList = (value, type = "object") =>
    Array.isArray(value) ? value.filter((one) => one !== null && typeof one === type) : [];

  /** @param {Json} members */
  const onlyGiven = (members) =>
    Object.fromEntries(
      Object.entries(members).filter(
        ([, value]) => value !== undefined && value !== "" && !(Array.isArray(value) && !value.length),
      ),
    );

  /** @param {ArrayBuffer} buffer */
  function toBase64Url(buffer) {
    return btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, "");
  }

  /** @param {string} text */
  function fromBase64Url(text) {
    return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
  }
})();
