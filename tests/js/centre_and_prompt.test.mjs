/** `<webpush-preferences>` and `<webpush-prompt>`, and the texts of all elements. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { afterEach, describe, test } from "node:test";

import { STATIC } from "./fake_browser.mjs";
import { FakePage, load } from "./fake_page.mjs";

let page = new FakePage();
const { WebPushPreferences, WebPushPrompt, WebPushToggle, defineTexts } = await load("webpush-kit-elements.js");
page.close();

const TYPES = { orders: { label: "Deliveries", default: true }, news: { label: "News", default: false } };
const DAY_MS = 86_400_000;

let element;

afterEach(() => {
  element?.disconnectedCallback();
  element = undefined;
  page.close();
});

/** Lets everything run that is on its way, also the first load of a file. */
const settle = async () => {
  const isBusy = () => element?.state === "busy";
  for (let turn = 0; turn < 5000 && (turn < 60 || isBusy()); turn += 1) await new Promise(setImmediate);
};
const refusal = (code) => Object.assign(new Error(`No: ${code}.`), { name: "PushError", code });

/** A manager whose answers a test can change. */
class FakePush {
  now = "on";
  stored = { categories: { news: true } };
  others = [{ id: 3, browser: "Firefox", created_at: "2026-01-17T07:45:10Z", is_current: false }];
  saved = [];
  requests = [];
  heard = {};

  on(name, listener) {
    this.heard[name] = listener;
    return () => delete this.heard[name];
  }

  state = async () => this.now;
  config = async () => ({ types: TYPES });
  preferences = async () => this.stored;
  subscription = async () => ({ endpoint: "https://push.example.net/1?x=ü" });
  subscribe = async () => void (this.now = "on");
  unsubscribe = async () => void (this.now = "off");
  sendTestNotification = async () => ({});

  async updatePreferences(preferences) {
    this.saved.push(preferences);
    return { preferences };
  }

  api = {
    makeRequest: async (path, options) => {
      this.requests.push([path, options?.method ?? "GET"]);
      return { success: true, status: 200, data: { subscriptions: this.others } };
    },
  };
}

async function attach(Element, { push = new FakePush(), attributes = {}, pageOptions = {}, before } = {}) {
  page = new FakePage({ lang: "en", ...pageOptions });
  before?.();
  element = new Element();
  element.push = push;
  element.localName = Element === WebPushPrompt ? "webpush-prompt" : "webpush-preferences";
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  const heard = [];
  for (const name of ["webpush-saved", "webpush-removed", "webpush-error", "webpush-shown", "webpush-closed"]) {
    element.addEventListener(name, ({ detail }) => heard.push([name, detail]));
  }
  element.connectedCallback();
  await settle();
  const find = (id) => element.shadowRoot.getElementById(id);
  const change = async (id, values) => {
    Object.assign(find(id), values).dispatchEvent(new Event("change"));
    await settle();
  };
  const press = async (id) => {
    find(id).click();
    await settle();
  };
  return { push, find, press, change, heard, text: () => element.shadowRoot.textContent };
}

describe("<webpush-preferences>", () => {
  test("shows types, quiet hours and the other browsers of a subscribed user", async () => {
    const { find, text, push } = await attach(WebPushPreferences);
    assert.equal(find("switch").getAttribute("aria-checked"), "true");
    assert.equal(find("type-0").hasAttribute("checked"), true, "by default");
    assert.equal(find("type-1").hasAttribute("checked"), true, "by choice");
    assert.equal(find("quiet").hasAttribute("checked"), false);
    assert.equal(find("start"), null);
    assert.match(text(), /Firefox since Jan 17, 2026/);
    assert.deepEqual(push.requests, [
      ["subscriptions?endpoint=https%3A%2F%2Fpush.example.net%2F1%3Fx%3D%C3%BC", "GET"],
    ]);
  });

  test("leaves out this browser, and names one that is unknown", async () => {
    const push = new FakePush();
    push.others = [
      { ...push.others[0], is_current: true },
      { ...push.others[0], browser: "" },
    ];
    const { text, find } = await attach(WebPushPreferences, { push });
    assert.doesNotMatch(text(), /Firefox/);
    assert.match(text(), /Unknown browser/);
    assert.equal(find("remove-1"), null);
  });

  test("saves each change on top of the ones before", async () => {
    const { find, change, push, heard, text } = await attach(WebPushPreferences);
    find("type-0").checked = false;
    find("type-0").dispatchEvent(new Event("change"));
    find("type-1").checked = false;
    find("type-1").dispatchEvent(new Event("change"));
    await settle();
    assert.deepEqual(push.saved.at(-1), { categories: { orders: false, news: false } });
    assert.match(text(), /Saved\./);
    assert.equal(heard.filter(([name]) => name === "webpush-saved").length, 2);
    await change("quiet", { checked: true });
    const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const quiet_hours = { enabled: true, start: "22:00", end: "07:00", timezone };
    assert.deepEqual(push.saved.at(-1), { categories: { orders: false, news: false }, quiet_hours });
    await change("end", { value: "06:15" });
    assert.deepEqual(push.saved.at(-1).quiet_hours, { ...quiet_hours, end: "06:15" });
  });

  test("keeps quiet hours that are no hours to itself, and says why", async () => {
    const push = new FakePush();
    push.stored = { quiet_hours: { enabled: true, start: "22:00", end: "07:00", timezone: "Asia/Tokyo" } };
    const { change, text, find } = await attach(WebPushPreferences, { push });
    for (const value of ["22:00", ""]) {
      await change("end", { value });
      assert.deepEqual(push.saved, []);
      assert.match(text(), /Choose two different times/);
    }
    assert.equal(find("zone").elements.find((one) => one.hasAttribute("selected")).textContent, "Asia/Tokyo");
  });

  test("takes back a change that the server refuses, and says why", async () => {
    const push = new FakePush();
    push.updatePreferences = async () => {
      throw refusal("throttled");
    };
    const { change, find, text } = await attach(WebPushPreferences, { push });
    await change("type-1", { checked: false });
    assert.equal(find("type-1").hasAttribute("checked"), true);
    assert.match(text(), /No: throttled\./);
  });

  test("sends a test, and says whether it did", async () => {
    const push = new FakePush();
    const { press, text } = await attach(WebPushPreferences, { push });
    await press("test");
    assert.match(text(), /on its way/);
    push.sendTestNotification = async () => {
      throw refusal("not_subscribed");
    };
    await press("test");
    assert.match(text(), /has no subscription/);
  });

  test("removes another browser, and the focus stays inside", async () => {
    const { press, text, push, heard, find } = await attach(WebPushPreferences);
    await press("remove-0");
    assert.deepEqual(push.requests.at(-1), ["subscriptions?id=3", "DELETE"]);
    assert.doesNotMatch(text(), /Firefox/);
    assert.match(text(), /Removed\./);
    assert.deepEqual(heard, [["webpush-removed", { id: 3 }]]);
    assert.equal(element.shadowRoot.activeElement, find("switch"));
  });

  for (const [status, isGone] of [
    [404, true],
    [500, false],
  ]) {
    test(`a browser that the server answers ${status} for ${isGone ? "goes" : "stays"}`, async () => {
      const push = new FakePush();
      const { press, text } = await attach(WebPushPreferences, { push });
      push.api.makeRequest = async () => ({ success: false, status, code: "failed", message: "No.", data: {} });
      await press("remove-0");
      assert.equal(/Firefox/.test(text()), !isGone);
    });
  }

  test("turns this browser off and on again", async () => {
    const { press, find, text } = await attach(WebPushPreferences);
    await press("switch");
    assert.equal(find("switch").getAttribute("aria-checked"), "false");
    assert.equal(find("type-0"), null);
    assert.match(text(), /Firefox/, "the others are there all the same");
    await press("switch");
    assert.notEqual(find("type-0"), null);
  });

  test("offers to try again when the server cannot be reached", async () => {
    const push = new FakePush();
    push.config = async () => {
      throw refusal("network_error");
    };
    const { press, text, find } = await attach(WebPushPreferences, { push });
    assert.match(text(), /cannot be reached/);
    push.config = async () => ({ types: TYPES });
    await press("retry");
    assert.notEqual(find("type-0"), null);
    assert.doesNotMatch(text(), /cannot be reached/);
  });

  test("lists no browsers for somebody who is not signed in", async () => {
    const push = new FakePush();
    push.api.makeRequest = async () => ({ success: false, status: 401, data: {} });
    const { find } = await attach(WebPushPreferences, { push });
    assert.notEqual(find("type-0"), null);
    assert.equal(find("remove-0"), null);
  });

  for (const [userAgent, words] of [
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", /remove the block/],
    [
      "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36",
      /icon beside the address, allow/,
    ],
    ["Mozilla/5.0 (Linux; Android 15) Chrome/130.0 Mobile Safari/537.36", /Permissions/],
    ["Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15", /Safari's settings/],
    ["Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 Version/26.0 Mobile/15E148 Safari/604.1", /Settings app/],
  ]) {
    test(`says how to unblock: ${words.source}`, async () => {
      const push = new FakePush();
      push.now = "denied";
      const { text } = await attach(WebPushPreferences, { push, pageOptions: { userAgent } });
      assert.match(text(), words);
    });
  }

  test("shows the way to the home screen where that is needed", async () => {
    const push = new FakePush();
    push.now = "needs-install";
    const { text } = await attach(WebPushPreferences, { push });
    assert.match(text(), /Tap “Share”.*Choose “Add to Home Screen”/);
  });

  test("survives a language of the page that is none", async () => {
    const { text } = await attach(WebPushPreferences, { pageOptions: { lang: "en_US.UTF-8" } });
    assert.match(text(), /since /);
  });
});

describe("<webpush-prompt>", () => {
  const off = () => Object.assign(new FakePush(), { now: "off" });
  const wait = () => new Promise((resolve) => setTimeout(resolve, 5)).then(() => settle());
  const open = async (options = {}) => {
    const attached = await attach(WebPushPrompt, {
      push: off(),
      ...options,
      attributes: { delay: "0", ...options.attributes },
    });
    await wait();
    return attached;
  };

  test("asks after its moment, and says so", async () => {
    const { text, heard, push } = await open();
    assert.equal(element.step, "ask");
    assert.match(text(), /Turn on notifications\?/);
    assert.deepEqual(heard, [["webpush-shown", { step: "ask" }]]);
    assert.equal(push.now, "off", "without a click nothing happens");
  });

  test("waits for the moment, and for none where the host shows it by hand", async () => {
    await open({ attributes: { delay: "3600" } });
    assert.equal(element.step, "");
    element.disconnectedCallback();
    page.close();
    await open({ attributes: { manual: "" } });
    assert.equal(element.step, "");
    assert.equal(await element.show(), "ask");
    assert.equal(element.step, "ask");
  });

  test("subscribes with the click's permission, and says that it is done", async () => {
    const { press, push, text, heard } = await open({ attributes: { preferences: '{"categories": {"news": true}}' } });
    const given = [];
    push.subscribe = async (preferences) => {
      given.push(preferences);
      push.now = "on";
    };
    await press("accept");
    assert.deepEqual(given, [{ categories: { news: true } }]);
    assert.equal(element.step, "done");
    assert.match(text(), /Notifications are on\./);
    await press("close");
    assert.equal(element.step, "");
    assert.deepEqual(heard.at(-1), ["webpush-closed", { reason: "closed" }]);
  });

  test("is not shown again in the session, nor after “not now” until its days are over", async (context) => {
    const { press, heard } = await open({ attributes: { "snooze-days": "2" } });
    await press("later");
    assert.deepEqual(heard.at(-1), ["webpush-closed", { reason: "later" }]);
    const again = async (days, isNewSession = true) => {
      const [local, session] = [localStorage, sessionStorage];
      context.mock.method(Date, "now", () => performance.timeOrigin + performance.now() + days * DAY_MS);
      element.disconnectedCallback();
      page.close();
      await open({
        before: () => {
          globalThis.localStorage = local;
          if (!isNewSession) globalThis.sessionStorage = session;
        },
      });
      context.mock.restoreAll();
      return element.step;
    };
    assert.equal(await again(3, false), "", "the session still has it");
    assert.equal(await again(1), "");
    assert.equal(await again(3), "ask");
  });

  test("shows nothing where nothing can be remembered", async () => {
    await open({
      before: () =>
        (globalThis.sessionStorage = {
          getItem() {
            throw new DOMException("no storage", "SecurityError");
          },
        }),
    });
    assert.equal(element.step, "");
  });

  for (const [state, step] of [
    ["on", ""],
    ["denied", ""],
    ["unsupported", ""],
    ["needs-install", "ios"],
  ]) {
    test(`in the state ${state} shows ${step || "nothing"}`, async () => {
      await open({ push: Object.assign(new FakePush(), { now: state }) });
      assert.equal(element.step, step);
    });
  }

  test("says how to unblock after a refusal, and when the host asks", async () => {
    const { press, push, text } = await open();
    push.subscribe = async () => {
      push.now = "denied";
      throw refusal("denied");
    };
    await press("accept");
    assert.equal(element.step, "blocked");
    assert.match(text(), /Notifications are blocked/);
    await press("close");
    assert.equal(await element.show(), "blocked");
  });

  test("stays with the reason when the question was closed without an answer", async () => {
    const { press, push, text } = await open();
    push.subscribe = async () => {
      throw refusal("dismissed");
    };
    await press("accept");
    assert.equal(element.step, "ask");
    assert.match(text(), /choose “Allow”/);
  });

  test("Escape is “not now” for a question, and closes anything else", async () => {
    const { heard, press } = await open();
    const pressEscape = () =>
      element.shadowRoot.elements[0].dispatchEvent(Object.assign(new Event("keydown"), { key: "Escape" }));
    pressEscape();
    assert.deepEqual(heard.at(-1), ["webpush-closed", { reason: "later" }]);
    await element.show();
    await press("accept");
    pressEscape();
    assert.deepEqual(heard.at(-1), ["webpush-closed", { reason: "closed" }]);
  });

  test("waits until the page is looked at", async () => {
    await open({ before: () => (page.document.visibilityState = "hidden") });
    assert.equal(element.step, "");
    page.document.visibilityState = "visible";
    page.document.dispatchEvent(new Event("visibilitychange"));
    await settle();
    assert.equal(element.step, "ask");
  });

  test("is done when another switch has turned notifications on", async () => {
    const { push } = await open();
    push.now = "on";
    push.heard.change("on");
    assert.equal(element.step, "done");
  });

  for (const isHidden of [false, true]) {
    test(`shows nothing once it has left the page${isHidden ? ", which nobody looked at" : ""}`, async (context) => {
      context.mock.timers.enable({ apis: ["setTimeout"] });
      const before = () => (page.document.visibilityState = isHidden ? "hidden" : "visible");
      const { push } = await attach(WebPushPrompt, { push: off(), attributes: { delay: "1" }, before });
      if (isHidden) context.mock.timers.tick(1000);
      element.disconnectedCallback();
      context.mock.timers.tick(1000);
      page.document.visibilityState = "visible";
      page.document.dispatchEvent(new Event("visibilitychange"));
      await settle();
      assert.equal(element.step, "");
      assert.deepEqual(push.heard, {});
    });
  }

  for (const [userAgent, words] of [
    [
      "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
      /Add app to Home screen|Add to Home screen/,
    ],
    ["Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15", /Add to Dock/],
    ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", null],
    ["Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0 Safari/537.36", null],
  ]) {
    test(`hints at installing where the browser can: ${words?.source ?? userAgent}`, async () => {
      const push = new FakePush();
      const { text } = await open({ push, attributes: { install: "" }, pageOptions: { userAgent } });
      assert.equal(element.step, words ? "install" : "");
      if (words) assert.match(text(), words);
    });
  }

  test("says nothing of installing to an installed app, or unless it is asked to", async () => {
    const pageOptions = { userAgent: "Mozilla/5.0 (Macintosh) Version/26.0 Safari/605.1.15" };
    await open({ push: new FakePush(), pageOptions });
    assert.equal(element.step, "");
    element.disconnectedCallback();
    page.close();
    const before = () => (globalThis.matchMedia = () => ({ matches: true }));
    await open({ push: new FakePush(), pageOptions, before, attributes: { install: "" } });
    assert.equal(element.step, "");
  });
});

describe("texts", () => {
  const languages = readdirSync(STATIC).flatMap((name) => /^webpush-kit-texts-(.+)\.js$/.exec(name)?.slice(1) ?? []);
  const of = async (language) => (await load(`webpush-kit-texts-${language}.js`)).default;

  for (const language of languages) {
    test(`in ${language} are complete, and keep their places`, async () => {
      const [english, texts] = [await of("en"), await of(language)];
      assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort());
      for (const [name, text] of Object.entries(texts)) {
        assert.ok(text.trim(), name);
        assert.equal(text.includes("{date}"), english[name].includes("{date}"), name);
        if (language !== "en") assert.ok(text !== english[name] || ["Notifications", "Test"].includes(text), name);
      }
    });
  }

  test("say everything that the module can have to say, in the same English", async () => {
    const { PUSH_ERRORS } = await load("webpush-kit.js");
    const english = await of("en");
    for (const [code, text] of Object.entries(PUSH_ERRORS)) {
      assert.ok(english[code], code);
      if (code !== "not_configured") assert.equal(english[code], text, code);
    }
  });

  test("are in the language of the page, and right to left where that is", async () => {
    const { text } = await attach(WebPushPreferences, { pageOptions: { lang: "ar" } });
    assert.match(text(), /الإشعارات في هذا المتصفح/);
    assert.equal(element.shadowRoot.elements[0].getAttribute("dir"), "rtl");
    element.disconnectedCallback();
    page.close();
    const { text: portuguese } = await attach(WebPushPreferences, { pageOptions: { lang: "pt" } });
    assert.match(portuguese(), /Notificações neste navegador/);
    assert.equal(element.shadowRoot.elements[0].getAttribute("dir"), null);
  });

  test("are those that the head names, whatever the language", async () => {
    const { pathToFileURL } = await import("node:url");
    const { place } = await import("./fake_page.mjs");
    const meta = { texts: pathToFileURL(place("webpush-kit-texts-ja.js")).href };
    const { text } = await attach(WebPushPreferences, { pageOptions: { lang: "tlh", meta } });
    assert.match(text(), /このブラウザーの通知/);
  });

  test("can be added and changed by the host, for a language and for one element", async () => {
    defineTexts("NL", { this_browser: "Meldingen in deze browser", on: "Aan" });
    const { text } = await attach(WebPushPreferences, {
      pageOptions: { lang: "nl-BE" },
      attributes: { "text-quiet-hours": "Stil" },
    });
    assert.match(text(), /Meldingen in deze browser/);
    assert.match(text(), /Stil/);
    assert.match(text(), /Your other browsers/, "what is missing is English");
    defineTexts("nl-be", { this_browser: "Meldingen hier" });
    await settle();
    assert.match(text(), /Meldingen hier/, "also while it is shown");
  });

  test("of the switch are there, too", async () => {
    page = new FakePage({ lang: "de" });
    element = new WebPushToggle();
    element.push = new FakePush();
    element.connectedCallback();
    await settle();
    assert.equal(element.textContent, "BenachrichtigungenAn");
  });
});
