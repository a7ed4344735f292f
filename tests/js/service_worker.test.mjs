/** The shipped service worker, run as it is in the fake browser. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { FakeBrowser, ORIGIN, PUBLIC_KEY } from "./fake_browser.mjs";

const ENGINES = ["chromium", "firefox", "webkit"];
const DATABASE = `webpush-kit ${ORIGIN}/`;
const EVENTS = `${ORIGIN}/api/v1/push/events`;

function payload(id, notification = {}, members = {}) {
  return {
    id,
    token: `token-${id}`,
    events: "/api/v1/push/events",
    notification: { title: `Title ${id}`, ...notification },
    ...members,
  };
}

/** Values from the worker's realm have other prototypes: compare as JSON. */
function same(actual, expected) {
  assert.deepEqual(JSON.parse(JSON.stringify(actual)), expected);
}

async function until(condition) {
  for (let turn = 0; turn < 500 && !condition(); turn += 1) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(condition(), String(condition));
}

const actionsOf = (browser) => browser.reports.map(({ token, action }) => `${token} ${action}`);

describe("a push", () => {
  test("is shown with everything it brings, and reported", async () => {
    const browser = new FakeBrowser();
    const notification = {
      title: "Grüße 🎉",
      body: "Body",
      icon: "/icon.png",
      badge: "https://cdn.example.net/badge.png",
      image: "/image.png",
      lang: "de",
      requireInteraction: true,
      renotify: true,
      vibrate: [100, 50],
      timestamp: 1700000000000,
      actions: [{ action: "view", title: "View", icon: "/view.png", navigate: "/view" }],
      data: { order: 7 },
      navigate: "/orders/7",
    };
    await browser.push(payload("1", notification));
    const [{ title, options }] = browser.shown;
    assert.equal(title, "Grüße 🎉");
    same(options, {
      body: "Body",
      lang: "de",
      tag: "1",
      icon: `${ORIGIN}/icon.png`,
      badge: "https://cdn.example.net/badge.png",
      image: `${ORIGIN}/image.png`,
      requireInteraction: true,
      renotify: true,
      vibrate: [100, 50],
      timestamp: 1700000000000,
      actions: [{ action: "view", title: "View", icon: `${ORIGIN}/view.png` }],
      data: {
        order: 7,
        webpush_kit: {
          id: "1",
          token: "token-1",
          events: EVENTS,
          navigate: `${ORIGIN}/orders/7`,
          actions: { view: `${ORIGIN}/view` },
        },
      },
    });
    assert.deepEqual(actionsOf(browser), ["token-1 delivered"]);
    const [request] = browser.requests;
    assert.equal(request.url, EVENTS);
    assert.equal(request.credentials, "omit");
    assert.ok(!Number.isNaN(Date.parse(request.body.events[0].timestamp)));
  });

  for (const [what, sent, title, body] of [
    ["no data", null, "example.com", undefined],
    ["text", "plain words", "example.com", "plain words"],
    ["a number", "12345", "example.com", "12345"],
    ["a JSON text", '"quoted"', "example.com", "quoted"],
    ["a JSON list", "[1, 2]", "example.com", "[1, 2]"],
    ["a JSON truth value", "true", "example.com", "true"],
    ["null", "null", "example.com", undefined],
    ["an empty object", {}, "example.com", undefined],
    ["JSON without a title", { body: "B" }, "example.com", "B"],
    ["a notification of the wrong type", { notification: "x" }, "example.com", undefined],
    ["a notification of the wrong type beside a body", { notification: "x", body: "B" }, "example.com", "B"],
    [
      "lists in place of texts",
      { notification: { title: "T", body: ["x"], actions: "none", vibrate: "no" } },
      "T",
      undefined,
    ],
    ["another sender's flat JSON", { title: "Flat", body: "B", url: "/flat" }, "Flat", "B"],
  ]) {
    test(`with ${what} is still shown`, async () => {
      const browser = new FakeBrowser();
      await browser.push(sent);
      assert.equal(browser.shown.length, 1);
      assert.equal(browser.shown[0].title, title);
      assert.equal(browser.shown[0].options.body, body);
    });
  }

  for (const [sender, sent, expected] of [
    ["django-webpush", { head: "Head", body: "Body", url: "/there", icon: "/i.png" }, { title: "Head" }],
    [
      "FCM with a notification",
      { notification: { title: "T", body: "Body", icon: "/i.png" }, fcmOptions: { link: "/there" }, from: "1" },
      {},
    ],
    [
      "FCM with data alone",
      { data: { title: "T", body: "Body", url: "/there", icon: "/i.png" }, fcmMessageId: "1" },
      { data: { title: "T", body: "Body", url: "/there", icon: "/i.png" } },
    ],
    [
      "Angular's service worker",
      {
        notification: {
          title: "T",
          body: "Body",
          icon: "/i.png",
          data: { onActionClick: { default: { operation: "openWindow", url: "/there" } } },
        },
      },
      { data: { onActionClick: { default: { operation: "openWindow", url: "/there" } } } },
    ],
    ["OneSignal", { title: "T", alert: "Body", icon: "/i.png", custom: { i: "1", u: "/there" } }, {}],
    ["a flat one with a message", { title: "T", message: "Body", click_action: "/there", icon: "/i.png" }, {}],
  ]) {
    test(`as ${sender} makes it is shown in full`, async () => {
      const browser = new FakeBrowser();
      const page = browser.openPage("/");
      await browser.push(sent);
      const [{ title, options }] = browser.shown;
      assert.equal(title, expected.title ?? "T");
      assert.deepEqual([options.body, options.icon, options.tag], ["Body", `${ORIGIN}/i.png`, undefined]);
      assert.equal(page.messages[0].url, `${ORIGIN}/there`);
      same(page.messages[0].data, expected.data ?? null);
      page.url = `${ORIGIN}/elsewhere`;
      page.controlled = false;
      await browser.click(browser.notifications[0]);
      assert.deepEqual(browser.opened, [`${ORIGIN}/there`]);
      assert.deepEqual(browser.requests, [], "there is nobody to report to");
    });
  }

  test("of another sender is shown each time, also with an id that was there before", async () => {
    const browser = new FakeBrowser();
    for (const body of ["first", "second"]) await browser.push({ id: 1, title: "T", body });
    assert.deepEqual(
      browser.shown.map(({ options }) => options.body),
      ["first", "second"],
    );
  });

  test("leaves out what it does not bring", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1", { silent: false }));
    assert.deepEqual(Object.keys(browser.shown[0].options), ["tag", "silent", "data"]);
  });

  test("takes title and icon from the host's settings where it brings none", async () => {
    const browser = new FakeBrowser({ settings: { title: "Studio", icon: "/studio.png" } });
    await browser.push("hello");
    assert.equal(browser.shown[0].title, "Studio");
    assert.equal(browser.shown[0].options.icon, `${ORIGIN}/studio.png`);
  });

  test("reads settings from the worker's own URL", async () => {
    const browser = new FakeBrowser({ url: `${ORIGIN}/sw.js?title=Query` });
    await browser.push(null);
    assert.equal(browser.shown[0].title, "Query");
  });

  test("of WebKit's declarative kind is read from the proposed notification", async () => {
    const browser = new FakeBrowser({ engine: "webkit" });
    const data = { order: 1, webpush_kit: { id: "9", token: "token-9", events: "/api/v1/push/events" } };
    await browser.pushProposal({ title: "Proposed", body: "B", tag: "9", data, navigate: "/x" }, { appBadge: 4 });
    assert.equal(browser.unchanged, 0);
    assert.equal(browser.shown[0].title, "Proposed");
    assert.equal(browser.shown[0].options.navigate, `${ORIGIN}/x`);
    assert.equal(browser.shown[0].id, "9");
    assert.equal(browser.badge, 4);
    assert.deepEqual(actionsOf(browser), ["token-9 delivered"]);
  });

  test("of WebKit's declarative kind is handed on also where a member is refused", async () => {
    const browser = new FakeBrowser({ engine: "webkit" });
    const show = browser.show.bind(browser);
    browser.show = (title, options) => {
      if (options.icon) throw new TypeError("no icons today");
      show(title, options);
    };
    await browser.pushProposal({ title: "Proposed", icon: "/i.png", navigate: "/x" });
    assert.equal(browser.unchanged, 0);
  });

  test("sets the badge from inside the notification, where older Safaris look for it", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1", { app_badge: 5 }));
    assert.equal(browser.badge, 5);
  });

  test("is shown with less when the browser refuses a member", async () => {
    const browser = new FakeBrowser();
    const show = browser.show.bind(browser);
    browser.show = (title, options) => {
      if (options.icon) throw new TypeError("no icons today");
      show(title, options);
    };
    await browser.push(payload("1", { body: "B", icon: "/i.png" }));
    assert.deepEqual(Object.keys(browser.shown[0].options), ["body", "tag", "data"]);
    await browser.dismiss(browser.notifications[0]);
    await browser.push(payload("1", { body: "B", icon: "/i.png" }));
    assert.equal(browser.alerts.length, 1);
  });

  test("is shown also where the list of notifications cannot be had", async () => {
    const browser = new FakeBrowser();
    browser.worker.context.registration.getNotifications = () => Promise.reject(new Error("not today"));
    await browser.push(payload("1", { tag: "news" }));
    assert.equal(browser.shown.length, 1);
  });

  test("never makes the two combinations that showNotification() refuses", async () => {
    const browser = new FakeBrowser();
    await browser.push({ notification: { title: "No tag", renotify: true } });
    await browser.push(payload("2", { silent: true, vibrate: [1], icon: "/kept.png" }));
    assert.equal(browser.shown[0].options.renotify, undefined);
    assert.equal(browser.shown[1].options.vibrate, undefined);
    assert.equal(browser.shown[1].options.icon, `${ORIGIN}/kept.png`);
  });

  test("that cannot be shown fails the event, and is neither reported nor taken for seen", async () => {
    const browser = new FakeBrowser();
    browser.permission = "denied";
    await assert.rejects(browser.push(payload("1")), TypeError);
    assert.deepEqual(browser.reports, []);
    browser.permission = "granted";
    await browser.push(payload("1"));
    assert.deepEqual(browser.alerts, [{ id: "1", title: "Title 1" }]);
  });

  test("sets and clears the app badge", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1", {}, { app_badge: 3 }));
    assert.equal(browser.badge, 3);
    await browser.push(payload("2", {}, { app_badge: 0 }));
    assert.equal(browser.badge, 0);
    await browser.push(payload("3", {}, { app_badge: -1 }));
    assert.equal(browser.badge, 0);
  });

  test("is told to the pages of the site", async () => {
    const browser = new FakeBrowser();
    const page = browser.openPage("/", { controlled: false });
    await browser.push(payload("1", { data: { a: 1 }, navigate: "/there" }));
    assert.deepEqual(page.messages, [
      { type: "webpush-kit:shown", id: "1", title: "Title 1", data: { a: 1 }, url: `${ORIGIN}/there`, action: "" },
    ]);
  });
});

describe("a repeated push", () => {
  for (const engine of ENGINES) {
    test(`alerts once in ${engine}, with the first still on screen`, async () => {
      const browser = new FakeBrowser({ engine });
      await browser.push(payload("1", { renotify: true, vibrate: [1] }));
      browser.startWorker();
      await browser.push(payload("1", { renotify: true, vibrate: [1] }));
      assert.equal(browser.alerts.length, 1);
      assert.equal(browser.notifications.length, 1);
    });

    test(`does not come back in ${engine} once dismissed`, async () => {
      const browser = new FakeBrowser({ engine });
      await browser.push(payload("1"));
      await browser.dismiss(browser.notifications[0]);
      browser.startWorker();
      await browser.push(payload("1"));
      await until(() => !browser.notifications.length);
      assert.equal(browser.alerts.length, 1);
      assert.equal(browser.generic, 0, "nor does the browser show a line of its own");
    });

    test(`alerts once in ${engine} when both copies arrive at the same moment`, async () => {
      const browser = new FakeBrowser({ engine });
      await Promise.all([1, 2, 3].map(() => browser.push(payload("1"))));
      assert.equal(browser.alerts.length, 1);
      assert.equal(browser.notifications.length, 1);
    });
  }

  test("is not shown at all in Chromium while a page of the site, or another notification, is visible", async () => {
    const browser = new FakeBrowser();
    const page = browser.openPage("/", { controlled: false });
    const pushTwice = async (id) => {
      await browser.push(payload(id));
      await browser.dismiss(browser.notifications.at(-1));
      await browser.push(payload(id));
    };
    await pushTwice("1");
    assert.equal(browser.shown.length, 1);
    page.visibilityState = "hidden";
    await browser.push(payload("other"));
    await pushTwice("2");
    assert.equal(browser.shown.length, 3);
    await browser.dismiss(browser.notifications[0]);
    await browser.push(payload("2"));
    assert.equal(browser.shown.length, 4);
    assert.equal(browser.generic, 0);
  });

  test("tells pages nothing, and leaves the badge that the site may have cleared since", async () => {
    const browser = new FakeBrowser();
    const page = browser.openPage("/");
    await browser.push(payload("1", {}, { app_badge: 3 }));
    browser.badge = 0;
    await browser.push(payload("1", {}, { app_badge: 3 }));
    assert.equal(page.messages.length, 1);
    assert.equal(browser.badge, 0);
  });

  test("calls showNotification() each time in WebKit, which counts the pushes that do not", async () => {
    const browser = new FakeBrowser({ engine: "webkit" });
    for (const _ of [1, 2, 3]) await browser.push(payload("1", { renotify: true }));
    const repeats = browser.shown.slice(1).map(({ options }) => [options.silent, options.renotify]);
    assert.deepEqual(repeats, [
      [true, false],
      [true, false],
    ]);
  });

  test("without storage alerts once as long as the worker lives", async () => {
    for (const how of ["refuse", "hang"]) {
      const browser = new FakeBrowser();
      browser.indexedDB.breakDown(how);
      await browser.push(payload("1"));
      await browser.push(payload("1"));
      assert.equal(browser.alerts.length, 1, how);
      assert.deepEqual(new Set(actionsOf(browser)), new Set(["token-1 delivered"]), how);
    }
  });

  test("is remembered by a storage that was late", async () => {
    const browser = new FakeBrowser();
    browser.indexedDB.breakDown("hang");
    await browser.push(payload("1"));
    browser.indexedDB.recover();
    await browser.push(payload("2"));
    browser.startWorker();
    await browser.push(payload("1"));
    assert.deepEqual(
      browser.alerts.map(({ id }) => id),
      ["1", "2"],
    );
    assert.deepEqual(actionsOf(browser), ["token-1 delivered", "token-2 delivered"]);
    const { reports, seen } = browser.indexedDB.content(DATABASE, "state");
    assert.deepEqual(reports, []);
    assert.equal(seen.length, 2);
  });

  test("is not reported as a delivery", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1"));
    browser.startWorker();
    await browser.push(payload("1", {}, { token: "token-1-again" }));
    assert.deepEqual(actionsOf(browser), ["token-1 delivered"]);
  });

  test("is one of the same server: another server's message with the same id is new", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1"));
    await browser.push(payload("1", { title: "Other" }, { token: "other", events: "/other/push/events" }));
    assert.deepEqual(
      browser.shown.map(({ title }) => title),
      ["Title 1", "Other"],
    );
    assert.deepEqual(actionsOf(browser), ["token-1 delivered", "other delivered"]);
  });

  test("is one of the same scope: workers do not share what they remember", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1"));
    browser.scope = `${ORIGIN}/p/`;
    browser.startWorker();
    await browser.push(payload("1"));
    assert.equal(browser.shown.filter(({ options }) => !options.silent).length, 2);
  });

  test("is told apart from others with the same tag", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1", { tag: "news", renotify: true }));
    await browser.push(payload("2", { tag: "news", renotify: true }));
    assert.deepEqual(
      browser.alerts.map(({ id }) => id),
      ["1", "2"],
    );
    assert.equal(browser.notifications.length, 1);
  });

  test("is remembered for the last thousand ids only", async () => {
    const browser = new FakeBrowser();
    for (let id = 1; id <= 1010; id += 1)
      await browser.push({ id: String(id), token: "t", notification: { title: "T" } });
    const { seen } = browser.indexedDB.content(DATABASE, "state");
    assert.equal(seen.length, 1000);
    assert.match(seen.at(-1), / 1010$/);
  });
});

describe("a click", () => {
  async function shown(notification = {}, options = {}) {
    const browser = new FakeBrowser(options);
    await browser.push(payload("1", { navigate: "/orders/7", ...notification }));
    return browser;
  }

  test("opens a window where there is none", async () => {
    const browser = await shown();
    await browser.click(browser.notifications[0]);
    assert.deepEqual(browser.opened, [`${ORIGIN}/orders/7`]);
    assert.deepEqual(browser.notifications, []);
    assert.deepEqual(actionsOf(browser), ["token-1 delivered", "token-1 clicked"]);
  });

  describe("on a declarative message, whose links count the click and redirect", () => {
    const actions = [
      { action: "pay", title: "Pay", navigate: `${ORIGIN}/open/1?action=pay` },
      { action: "confirm", title: "Confirm", navigate: `${ORIGIN}/open/1` },
    ];
    const links = { navigate: "/orders/7", actions: { pay: "/pay" } };
    const declarative = { navigate: `${ORIGIN}/open/1`, actions, data: { webpush_kit: links } };

    for (const [action, opened] of [
      ["", "/orders/7"],
      ["pay", "/pay"],
      ["confirm", "/orders/7"],
    ]) {
      test(`opens the page itself: ${opened} for "${action}"`, async () => {
        const browser = await shown(declarative);
        await browser.click(browser.notifications[0], action);
        assert.deepEqual(browser.opened, [ORIGIN + opened]);
        assert.equal(browser.reports.length, 2);
      });
    }

    test("leaves the counting to the link where the browser follows it by itself", async () => {
      const browser = new FakeBrowser({ engine: "webkit" });
      await browser.pushProposal({ title: "x", navigate: `${ORIGIN}/open/1`, data: { webpush_kit: links } });
      assert.equal(browser.shown[0].options.navigate, `${ORIGIN}/open/1`);
    });
  });

  test("focuses the page that is already there", async () => {
    const browser = await shown();
    const other = browser.openPage("/");
    const there = browser.openPage("/orders/7", { controlled: false });
    await browser.click(browser.notifications[0]);
    assert.deepEqual([other.focused, browser.front, browser.opened], [false, there, []]);
  });

  test("focuses the page used last before it navigates it, passing over frames and pages it cannot navigate", async () => {
    const browser = await shown();
    browser.openPage("/frame", { nested: true });
    browser.openPage("/foreign", { controlled: false });
    const page = browser.openPage("/mine");
    const last = browser.openPage("/older");
    const focusedFirst = [];
    const { navigate } = page;
    page.navigate = (url) => navigate.call(page, url, focusedFirst.push(page.focused));
    await browser.click(browser.notifications[0]);
    assert.equal(page.url, `${ORIGIN}/orders/7`);
    assert.deepEqual([browser.front, focusedFirst], [page, [true]]);
    assert.equal(last.url, `${ORIGIN}/older`);
    assert.deepEqual(browser.opened, []);
  });

  for (const [what, navigate] of [
    ["a redirect leads off the site", async () => null],
    ["the page never loads", () => new Promise(() => {})],
  ]) {
    test(`leaves the page in front that it navigated, also when ${what}`, async () => {
      const browser = await shown();
      const page = browser.openPage("/");
      page.navigate = navigate;
      await browser.click(browser.notifications[0]);
      assert.deepEqual([browser.front, browser.opened], [page, []]);
    });
  }

  for (const [what, fail] of [
    ["no page can be navigated", (page) => (page.controlled = false)],
    ["the page cannot be focused", (page) => (page.focus = () => Promise.reject(new Error("closed meanwhile")))],
  ]) {
    test(`opens a window when ${what}`, async () => {
      const browser = await shown();
      fail(browser.openPage("/"));
      await browser.click(browser.notifications[0]);
      assert.deepEqual(browser.opened, [`${ORIGIN}/orders/7`]);
      assert.equal(browser.front.url, `${ORIGIN}/orders/7`);
    });
  }

  test("tries a window when the focused page cannot be navigated", async () => {
    const browser = await shown();
    browser.openPage("/").navigate = () => Promise.reject(new TypeError("no"));
    browser.raise = () => {};
    await browser.click(browser.notifications[0]);
    assert.deepEqual(browser.opened, [`${ORIGIN}/orders/7`]);
  });

  test("goes by where pages are now, not by where they were loaded", async () => {
    const browser = await shown();
    const moved = Object.assign(browser.openPage("/orders/7"), { href: `${ORIGIN}/elsewhere` });
    const arrived = Object.assign(browser.openPage("/start"), { href: `${ORIGIN}/orders/7` });
    await browser.click(browser.notifications[0]);
    assert.deepEqual([browser.front, arrived.url, arrived.navigations], [arrived, `${ORIGIN}/start`, []]);
    browser.pages = [moved];
    await browser.push(payload("2", { navigate: "/orders/7" }));
    await browser.click(browser.notifications[0]);
    assert.deepEqual([browser.front, moved.navigations.length], [moved, 1]);
  });

  test("lets a page go to the URL by itself, and forces one that it does not control", async () => {
    for (const controlled of [true, false]) {
      const browser = await shown();
      const page = browser.openPage("/", { controlled });
      Object.assign(page, { href: `${ORIGIN}/`, isHandling: true });
      await browser.click(browser.notifications[0]);
      const request = { type: "webpush-kit:navigate", url: `${ORIGIN}/orders/7`, isForced: !controlled };
      assert.deepEqual(page.navigations, [request]);
      assert.deepEqual([browser.front, page.url, browser.opened], [page, `${ORIGIN}/`, []]);
    }
  });

  test("is told to the page it opens, once, whether that listens before or asks later", async () => {
    const browser = await shown();
    await browser.click(browser.notifications[0]);
    const [opened] = browser.pages;
    const news = (page) => page.messages.filter(({ type }) => type === "webpush-kit:clicked").length;
    assert.equal(news(opened), 1);
    const hello = { type: "webpush-kit:hello", href: `${ORIGIN}/orders/7` };
    await browser.message(hello, opened);
    assert.equal(news(opened), 1);
    const reloaded = browser.openPage("/orders/7");
    await browser.message({ ...hello, href: `${ORIGIN}/other` }, reloaded);
    assert.equal(news(reloaded), 0);
    await browser.message(hello, reloaded);
    assert.equal(news(reloaded), 1);
  });

  test("is told to the page it navigates before and after", async () => {
    const browser = await shown();
    const page = browser.openPage("/");
    await browser.click(browser.notifications[0]);
    assert.equal(page.messages.filter(({ type }) => type === "webpush-kit:clicked").length, 2);
  });

  test("leaves the pages of the site alone when the URL is another site's", async () => {
    const browser = await shown({ navigate: "https://partner.example.org/x" });
    const page = browser.openPage("/");
    await browser.click(browser.notifications[0]);
    assert.equal(page.url, `${ORIGIN}/`);
    assert.deepEqual(browser.opened, ["https://partner.example.org/x"]);
  });

  test("is told to the pages with the host's own data", async () => {
    const browser = await shown({ data: { order: 7 } });
    const page = browser.openPage("/");
    await browser.click(browser.notifications[0]);
    same(page.messages.at(-1), {
      type: "webpush-kit:clicked",
      id: "1",
      title: "Title 1",
      data: { order: 7 },
      url: `${ORIGIN}/orders/7`,
      action: "",
    });
  });

  const actions = [
    { action: "pay", title: "Pay", navigate: "/pay" },
    { action: "confirm", title: "Confirm" },
    { action: "constructor", title: "A name objects have anyway" },
    { action: "dismiss", title: "No" },
  ];
  for (const [action, opened] of [
    ["pay", [`${ORIGIN}/pay`]],
    ["confirm", [`${ORIGIN}/orders/7`]],
    ["constructor", [`${ORIGIN}/orders/7`]],
    ["dismiss", []],
  ]) {
    test(`on the action "${action}" opens ${opened[0] ?? "nothing"}`, async () => {
      const browser = await shown({ actions });
      await browser.click(browser.notifications[0], action);
      assert.deepEqual(browser.opened, opened);
      const { action: reported, action_id: actionId } = browser.reports.at(-1);
      assert.deepEqual([reported, actionId], ["action_clicked", action]);
    });
  }

  for (const hostile of [
    "javascript:alert(1)",
    " java\nscript:alert(1)",
    "data:text/html,x",
    `blob:${ORIGIN}/1`,
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "http://evil.example/",
    "https:\\\\evil.example",
    "ht\ntps://evil.example/",
    "https://user:pass@evil.example/",
    "https://[",
    17,
    {},
  ]) {
    test(`never opens ${JSON.stringify(hostile)}`, async () => {
      const browser = await shown({
        navigate: hostile,
        icon: hostile,
        actions: [{ action: "a", title: "A", navigate: hostile }],
      });
      const [notification] = browser.notifications;
      assert.equal(browser.shown[0].options.icon, undefined);
      // Also when another script, or an older version of ours, put it there.
      notification.data.webpush_kit.navigate = hostile;
      notification.data.webpush_kit.actions.a = hostile;
      await browser.click(notification);
      browser.pages = [];
      await browser.click(notification, "a");
      assert.deepEqual(browser.opened, [`${ORIGIN}/`, `${ORIGIN}/`]);
    });
  }

  test("on another script's notification is not ours", async () => {
    const browser = new FakeBrowser({ imported: true });
    browser.show("Host's own", { data: { mine: true } });
    const [notification] = browser.notifications;
    await browser.click(notification);
    assert.deepEqual([browser.notifications.length, browser.opened, browser.requests], [1, [], []]);
    await browser.dismiss(notification);
    assert.deepEqual(browser.requests, []);
  });
});

describe("a dismissal", () => {
  test("is reported", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1"));
    await browser.dismiss(browser.notifications[0]);
    assert.deepEqual(actionsOf(browser), ["token-1 delivered", "token-1 dismissed"]);
  });

  test("is not what a click or a newer notification with the same tag makes", async () => {
    const browser = new FakeBrowser({ engine: "firefox" });
    await browser.push(payload("1"));
    const [notification] = browser.notifications;
    await browser.click(notification);
    await browser.dismiss(notification);
    await browser.push(payload("2", { tag: "news" }));
    await browser.push(payload("3", { tag: "news" }));
    assert.ok(!actionsOf(browser).some((report) => report.endsWith("dismissed")), actionsOf(browser).join());
  });
});

describe("reports", () => {
  const away = () => {
    throw new TypeError("network away");
  };
  const answering = (status) => () => ({ status });

  for (const [what, answer] of [
    ["the network is away", away],
    ["the server is down", answering(503)],
    ["throttled", answering(429)],
  ]) {
    test(`wait for the next wake-up when ${what}`, async () => {
      const browser = new FakeBrowser();
      const online = browser.answer;
      browser.answer = answer;
      await browser.push(payload("1"));
      assert.deepEqual(browser.reports, []);
      assert.deepEqual(browser.syncs, ["webpush-kit"]);
      browser.startWorker();
      browser.answer = online;
      await browser.push(payload("2"));
      assert.deepEqual(actionsOf(browser), ["token-1 delivered", "token-2 delivered"]);
      await browser.push(payload("3"));
      assert.equal(browser.reports.length, 3);
    });
  }

  test("go out at a background sync", async () => {
    const browser = new FakeBrowser();
    const online = browser.answer;
    browser.answer = away;
    await browser.push(payload("1"));
    browser.answer = online;
    await browser.worker.dispatch("sync", { tag: "the host's own" });
    assert.equal(browser.reports.length, 0);
    browser.syncs = [];
    await browser.worker.dispatch("sync", { tag: "webpush-kit" });
    assert.equal(browser.reports.length, 1);
    assert.deepEqual(browser.syncs, [], "all is done");
  });

  test("are bounded while the network is away, and go out fifty at a time", async () => {
    const browser = new FakeBrowser({ engine: "firefox" });
    const online = browser.answer;
    browser.answer = away;
    for (let id = 1; id <= 205; id += 1) await browser.push(payload(String(id)));
    browser.answer = online;
    browser.requests = [];
    await browser.push(payload("206"));
    assert.deepEqual(
      browser.requests.map(({ body }) => body.events.length),
      [50, 50, 50, 50],
    );
    assert.equal(browser.reports[0].token, "token-7");
    assert.equal(browser.reports.at(-1).token, "token-206");
  });

  test("that the server refuses are dropped alone, and the others sent", async () => {
    const browser = new FakeBrowser();
    const online = browser.answer;
    browser.answer = away;
    await browser.push(payload("1"));
    await browser.push(payload("bad"));
    browser.answer = ({ body }) => ({ status: body.events.some(({ token }) => token === "token-bad") ? 400 : 200 });
    await browser.push(payload("2"));
    assert.deepEqual(actionsOf(browser), ["token-1 delivered", "token-2 delivered"]);
    assert.equal(browser.syncs.length, 2, "none for the batch that was taken apart");
    browser.answer = online;
    browser.requests = [];
    await browser.push({ notification: { title: "nothing to report" } });
    assert.deepEqual(browser.requests, []);
  });

  test("of a batch that is refused wait as well when the network goes away meanwhile", async () => {
    const browser = new FakeBrowser();
    browser.answer = away;
    await browser.push(payload("1"));
    browser.syncs = [];
    browser.answer = ({ body }) => ({ status: body.events.length > 1 ? 400 : 503 });
    await browser.push(payload("2"));
    assert.deepEqual(browser.syncs, ["webpush-kit"]);
    assert.equal(browser.indexedDB.content(DATABASE, "state").reports.length, 2);
  });

  test("go to the API that the worker knows, else to each payload's own URL", async () => {
    const urls = async (settings, options) => {
      const browser = new FakeBrowser({ settings, ...options });
      await browser.push(payload("1", {}, { events: "https://api.example.org/events" }));
      await browser.push(payload("2", {}, { events: "javascript:1" }));
      return browser.requests.map(({ url }) => url);
    };
    const own = `${ORIGIN}/push/events`;
    assert.deepEqual(await urls({ baseUrl: "/push" }), [own, own]);
    assert.deepEqual(await urls(undefined), ["https://api.example.org/events"]);
    const elsewhere = "https://api.example.net/push/events";
    assert.deepEqual(await urls({ baseUrl: "https://api.example.net/push/" }), [elsewhere, elsewhere]);
  });

  test("are kept for three days while the URL is not found, without a sync of their own", async () => {
    const browser = new FakeBrowser();
    const online = browser.answer;
    browser.answer = answering(404);
    await browser.push(payload("1"));
    await browser.push(payload("2"));
    assert.deepEqual(browser.syncs, []);
    assert.equal(browser.indexedDB.content(DATABASE, "state").reports.length, 2);
    browser.passTime(4 * 24 * 60 * 60 * 1000);
    await browser.push(payload("3"));
    const kept = browser.indexedDB.content(DATABASE, "state").reports.map(({ event }) => event.token);
    assert.deepEqual(kept, ["token-3"]);
    browser.answer = online;
    await browser.push(payload("4"));
    assert.deepEqual(actionsOf(browser), ["token-3 delivered", "token-4 delivered"]);
  });

  test("to a URL that is not found do not hold back others", async () => {
    const browser = new FakeBrowser();
    const online = browser.answer;
    browser.answer = (request) => (request.url.includes("/gone/") ? { status: 503 } : online.call(browser, request));
    await browser.push(payload("1", {}, { events: "/gone/events" }));
    await browser.push(payload("2"));
    assert.deepEqual(actionsOf(browser), ["token-2 delivered"]);
  });

  test("without any URL to send them to are kept", async () => {
    const browser = new FakeBrowser();
    await browser.push(payload("1", {}, { events: undefined }));
    assert.deepEqual(browser.requests, []);
    await browser.message({ type: "webpush-kit:configure", baseUrl: "/api/v1/push/" });
    assert.deepEqual(actionsOf(browser), ["token-1 delivered"]);
  });
});

describe("a subscription that changed", () => {
  const CONFIGURED = {
    type: "webpush-kit:configure",
    baseUrl: "/api/v1/push/",
    subscriptionToken: "first",
    language: "de",
  };
  const key = Uint8Array.from(Buffer.from(PUBLIC_KEY, "base64url"));
  const old = { endpoint: "https://push.example.net/old", options: { applicationServerKey: key.buffer } };

  async function configured(members = {}) {
    const browser = new FakeBrowser();
    assert.deepEqual({ ...(await browser.message({ ...CONFIGURED, ...members })) }, { type: "webpush-kit:configured" });
    browser.startWorker();
    return browser;
  }

  test("is made anew with the same key and handed to the server with the token", async () => {
    const browser = await configured();
    await browser.changeSubscription({ oldSubscription: old });
    assert.deepEqual(Buffer.from(browser.subscription.options.applicationServerKey), Buffer.from(key));
    const [request] = browser.requests;
    assert.equal(request.url, `${ORIGIN}/api/v1/push/subscribe`);
    assert.equal(request.headers["X-Subscription-Token"], "first");
    assert.equal(request.credentials, "omit");
    same(request.body, {
      subscription: browser.subscription.toJSON(),
      old_endpoint: old.endpoint,
      language: "de",
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    });
    const state = await browser.message({ type: "webpush-kit:state" });
    assert.equal(state.subscriptionToken, "renewed");
    assert.equal(state.endpoint, browser.subscription.endpoint);
  });

  test("asks the server for the key when the browser does not tell it", async () => {
    const browser = await configured({ endpoint: "https://push.example.net/known" });
    await browser.changeSubscription();
    assert.deepEqual(
      browser.requests.map(({ url }) => url.split("/").at(-1)),
      ["config", "subscribe"],
    );
    assert.equal(browser.requests[1].body.old_endpoint, "https://push.example.net/known");
  });

  test("that the browser renewed by itself is only handed over", async () => {
    const browser = await configured();
    browser.subscribe("https://push.example.net/new", key);
    await browser.changeSubscription({ oldSubscription: old, newSubscription: browser.subscription });
    assert.equal(browser.requests[0].body.subscription.endpoint, "https://push.example.net/new");
  });

  test("is tried again at the next wake-up, with the endpoint the server knows", async () => {
    const browser = await configured();
    const online = browser.answer;
    browser.answer = () => ({ status: 502 });
    await browser.changeSubscription({ oldSubscription: old });
    await browser.changeSubscription({ oldSubscription: { endpoint: "https://push.example.net/between" } });
    browser.startWorker();
    browser.answer = online;
    browser.requests = [];
    await browser.push(payload("1"));
    const repairs = browser.requests.filter(({ url }) => url.endsWith("/subscribe"));
    assert.deepEqual(
      repairs.map(({ body }) => body.old_endpoint),
      [old.endpoint],
    );
    browser.requests = [];
    await browser.push(payload("2"));
    assert.deepEqual(
      browser.requests.map(({ url }) => url),
      [EVENTS],
    );
  });

  test("is made anew once when the server holds other keys for the endpoint", async () => {
    const browser = await configured();
    const online = browser.answer;
    browser.answer = () => {
      browser.answer = online;
      return { status: 409, body: { success: false, code: "key_mismatch" } };
    };
    await browser.changeSubscription({ oldSubscription: old });
    const endpoints = browser.requests.map(({ body }) => body.subscription.endpoint);
    assert.equal(endpoints.length, 2);
    assert.notEqual(endpoints[0], endpoints[1]);
  });

  for (const [what, setUp] of [
    ["without permission", (browser) => (browser.permission = "denied")],
    ["that the server refuses", (browser) => (browser.answer = () => ({ status: 403, body: { code: "forbidden" } }))],
  ]) {
    test(`${what} is left to the next visit of a page`, async () => {
      const browser = await configured();
      setUp(browser);
      await browser.changeSubscription({ oldSubscription: old });
      assert.equal(browser.indexedDB.content(DATABASE, "state").repair, null);
    });
  }

  test("waits for a page when the worker knows neither key nor API", async () => {
    const browser = new FakeBrowser();
    await browser.changeSubscription();
    assert.deepEqual([browser.subscription, browser.requests], [null, []]);
    await browser.message(CONFIGURED);
    assert.deepEqual(
      browser.requests.map(({ method }) => method),
      ["GET", "POST"],
    );
  });

  test("is made anew but not sent when the token was taken back at logout", async () => {
    const browser = await configured();
    await browser.message({ type: "webpush-kit:configure", subscriptionToken: null });
    await browser.changeSubscription({ oldSubscription: old });
    assert.notEqual(browser.subscription, null);
    assert.deepEqual(browser.requests, []);
  });
});

describe("hooks of the site", () => {
  const hooked = (hooks, options = {}) => {
    const browser = new FakeBrowser(options);
    Object.assign(browser.worker.context.webpushKit, hooks);
    return browser;
  };

  test("onPush may change what is shown, and where a click leads", async () => {
    const onPush = async (message) => {
      message.title += "!";
      message.options.body = "Changed";
      message.url = "/changed";
      message.data = { mine: true };
    };
    const browser = hooked({ onPush });
    const page = browser.openPage("/");
    await browser.push(payload("1", { navigate: "/there" }));
    assert.equal(browser.shown[0].title, "Title 1!");
    assert.equal(browser.shown[0].options.body, "Changed");
    same(page.messages[0].data, { mine: true });
    browser.pages = [];
    await browser.click(browser.notifications[0]);
    assert.deepEqual(browser.opened, [`${ORIGIN}/changed`]);
  });

  test("onPush cannot lead a click where a payload could not", async () => {
    const browser = hooked({ onPush: (message) => void (message.url = "javascript:alert(1)") });
    await browser.push(payload("1"));
    await browser.click(browser.notifications[0]);
    assert.deepEqual(browser.opened, [`${ORIGIN}/`]);
  });

  test("onPush may show nothing, which is no delivery", async () => {
    const browser = hooked({ onPush: () => false }, { engine: "firefox" });
    const page = browser.openPage("/");
    await browser.push(payload("1"));
    await browser.push(payload("1"));
    assert.deepEqual([browser.shown, browser.reports, page.messages], [[], [], []]);
  });

  for (const [what, onPush] of [
    [
      "throws",
      () => {
        throw new Error("oops");
      },
    ],
    ["rejects", async () => Promise.reject(new Error("oops"))],
    ["never ends", () => new Promise(() => {})],
  ]) {
    test(`onPush that ${what} does not keep a message from being shown`, async () => {
      const browser = hooked({ onPush });
      await browser.push(payload("1"));
      assert.equal(browser.shown.length, 1);
      assert.deepEqual(browser.errors, what === "never ends" ? [] : ["webpushKit.onPush() failed: Error: oops"]);
    });
  }

  test("onClick may open nothing, and the click is reported", async () => {
    const clicks = [];
    const onClick = ({ action, data, url }) => clicks.push([action, data.a, url]) && false;
    const browser = hooked({ onClick });
    await browser.push(payload("1", { data: { a: 1 }, navigate: "/there", actions: [{ action: "x", title: "X" }] }));
    await browser.click(browser.notifications[0], "x");
    assert.deepEqual(clicks, [["x", 1, `${ORIGIN}/there`]]);
    assert.deepEqual(browser.opened, []);
    assert.deepEqual(actionsOf(browser), ["token-1 delivered", "token-1 action_clicked"]);
  });

  test("onClose hears of dismissals", async () => {
    const closed = [];
    const browser = hooked({ onClose: ({ id }) => closed.push(id) });
    await browser.push(payload("1"));
    await browser.dismiss(browser.notifications[0]);
    assert.deepEqual(closed, ["1"]);
  });
});

describe("messages", () => {
  test("keep texts, forget what is null, and ignore the rest", async () => {
    const browser = new FakeBrowser();
    await browser.message({
      type: "webpush-kit:configure",
      publicKey: "k",
      subscriptionToken: "t",
      other: "x",
      baseUrl: 5,
    });
    same(await browser.message({ type: "webpush-kit:state" }), {
      type: "webpush-kit:state",
      publicKey: "k",
      subscriptionToken: "t",
    });
    await browser.message({ type: "webpush-kit:configure", subscriptionToken: null });
    assert.equal((await browser.message({ type: "webpush-kit:state" })).subscriptionToken, null);
  });

  test("of the host's own worker get no answer from ours", async () => {
    const browser = new FakeBrowser();
    for (const data of [null, "text", { type: "SKIP_WAITING" }]) assert.equal(await browser.message(data), undefined);
  });
});

describe("taking control of pages", () => {
  async function installed(options) {
    const browser = new FakeBrowser(options);
    await browser.worker.dispatch("install", {});
    await browser.worker.dispatch("activate", {});
    return [browser.skippedWaiting, browser.claimed];
  }

  test("happens when the file is the worker itself", async () => {
    assert.deepEqual(await installed({}), [true, true]);
    assert.deepEqual(await installed({ url: `${ORIGIN}/push/service-worker.js?title=x` }), [true, true]);
  });

  test("is the host's business when the file is imported, or when the host says so", async () => {
    assert.deepEqual(await installed({ imported: true }), [false, false]);
    assert.deepEqual(await installed({ settings: { takeControl: false } }), [false, false]);
    assert.deepEqual(await installed({ imported: true, settings: { takeControl: true } }), [true, true]);
  });
});

test("run_service_worker.mjs prints what was shown, noticed and reported", () => {
  const lines = [payload("1"), payload("2"), payload("1"), payload("1")].map((one) => JSON.stringify(one)).join("\n");
  const script = fileURLToPath(new URL("run_service_worker.mjs", import.meta.url));
  for (const engine of ENGINES) {
    const options = [`--engine=${engine}`, "--restart-every=1", "--dismiss"];
    const { stdout, stderr } = spawnSync(process.execPath, [script, ...options], { input: lines, encoding: "utf8" });
    assert.equal(stderr, "");
    const { shown, alerts, reports } = JSON.parse(stdout);
    assert.deepEqual(
      alerts,
      [
        { id: "1", title: "Title 1" },
        { id: "2", title: "Title 2" },
      ],
      engine,
    );
    assert.equal(shown.length, engine === "firefox" ? 2 : 4);
    assert.ok(reports.some(({ token, action }) => token === "token-2" && action === "delivered"));
  }
});
