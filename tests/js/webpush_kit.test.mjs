/** The shipped module, between the shipped service worker and a server that answers as the HTTP API does. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";

import { ORIGIN, PUBLIC_KEY } from "./fake_browser.mjs";
import { FakeIndexedDB } from "./fake_indexeddb.mjs";
import { FakePage, load, refusal } from "./fake_page.mjs";

const kit = await load("webpush-kit.js");
const { MockPushNotificationAPI } = await load("webpush-kit-mock.js");
const OTHER_KEY = kit.arrayBufferToBase64(kit.base64ToUint8Array(PUBLIC_KEY).reverse());

let page;
afterEach(() => page?.close());

/** A page, and a manager that does nothing by itself. */
function open(options = {}, pageOptions = {}) {
  page = new FakePage(pageOptions);
  return kit.createPush({ repair: false, ...options });
}

/** The same, subscribed, as a later page load finds it: only what storage and worker remember is left. */
async function openSubscribed(options = {}) {
  await open(options).subscribe({ categories: { news: true } });
  page.browser.startWorker();
  page.browser.requests = [];
  return kit.createPush({ repair: false, ...options });
}

const codeOf = (code) => (error) => error instanceof kit.PushError && error.code === code;
const workerState = () => page.browser.message({ type: "webpush-kit:state" });

/** Time-outs pass a hundred times faster. */
function hurry(context) {
  const { setTimeout } = globalThis;
  context.mock.method(globalThis, "setTimeout", (run, delay, ...values) => setTimeout(run, delay / 100, ...values));
}

describe("state", () => {
  test("follows permission and subscription", async () => {
    const push = open();
    assert.equal(await push.state(), "off");
    await push.subscribe();
    assert.equal(await push.state(), "on");
    page.browser.permission = "denied";
    assert.equal(await push.state(), "denied");
  });

  test("is unsupported without Notification, also where the name is not defined", async () => {
    const push = open({}, { supported: false });
    assert.equal(await push.state(), "unsupported");
    await assert.rejects(push.subscribe(), codeOf("unsupported"));
    assert.equal(await push.repair(), "nothing");
  });

  test("is unsupported without service workers, as in some private windows", async () => {
    const push = open({}, { serviceWorker: undefined });
    assert.equal(await push.state(), "unsupported");
  });

  test("of a desktop without push is unsupported, with or without a touch screen", async () => {
    for (const navigator of [
      { platform: "MacIntel", maxTouchPoints: 0 },
      { platform: "Win32", maxTouchPoints: 10 },
    ]) {
      assert.equal(await open({}, { supported: false, ...navigator }).state(), "unsupported");
      page.close();
    }
  });

  for (const [device, navigator] of [
    ["an iPhone", { userAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)" }],
    ["an iPad", { userAgent: "Mozilla/5.0 (Macintosh)", platform: "MacIntel", maxTouchPoints: 5 }],
  ]) {
    test(`in a tab of ${device} needs the site on the home screen`, async () => {
      const push = open({}, { supported: false, ...navigator });
      assert.equal(await push.state(), "needs-install");
      await assert.rejects(push.subscribe(), codeOf("needs_install"));
    });

    test(`on the home screen of ${device} with an old system is unsupported`, async () => {
      const push = open({}, { supported: false, ...navigator, standalone: true });
      assert.equal(await push.state(), "unsupported");
    });
  }

  test("that changed elsewhere is announced when the page is seen again", async () => {
    const push = open();
    await push.subscribe();
    const states = [];
    push.on("change", (state) => states.push(state));
    page.browser.permission = "denied";
    for (const visibilityState of ["hidden", "visible", "visible"]) {
      page.document.visibilityState = visibilityState;
      page.document.dispatchEvent(new Event("visibilitychange"));
      await new Promise(setImmediate);
      assert.deepEqual(states, visibilityState === "hidden" ? [] : ["denied"]);
    }
  });

  test("is announced at each change, once", async () => {
    const push = open();
    const states = [];
    push.on("change", (state) => states.push(state));
    await push.subscribe();
    await push.subscribe();
    await push.detach();
    await push.repair();
    await push.unsubscribe();
    page.answer = "denied";
    await assert.rejects(push.subscribe(), codeOf("denied"));
    assert.deepEqual(states, ["on", "off", "on", "off", "denied"]);
  });
});

describe("subscribe", () => {
  test("asks for permission in the click itself, before anything is awaited", async () => {
    const push = open();
    const subscribing = push.subscribe();
    assert.equal(page.prompts, 1);
    await subscribing;
  });

  test("tells the server, and the worker what it needs without a page", async () => {
    const push = open();
    const states = [];
    push.on("change", (state) => states.push(state));
    const answer = await push.subscribe({ categories: { news: false } });
    assert.equal(answer.subscription_id, 1);
    assert.deepEqual(page.requests, ["GET config", "POST subscribe"]);
    const { body, headers } = page.browser.requests[1];
    const { subscription } = page.browser;
    assert.deepEqual(body, {
      subscription: subscription.toJSON(),
      preferences: { categories: { news: false } },
      language: "de",
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    });
    assert.equal(headers["X-CSRFToken"], "from-meta");
    assert.equal(kit.arrayBufferToBase64(subscription.options.applicationServerKey), PUBLIC_KEY);
    assert.deepEqual(
      { ...(await workerState()) },
      {
        type: "webpush-kit:state",
        baseUrl: "/api/v1/push/",
        publicKey: PUBLIC_KEY,
        subscriptionToken: "token-1",
        endpoint: subscription.endpoint,
        language: "de",
      },
    );
    assert.deepEqual(states, ["on"]);
    assert.equal(page.registration.active.scriptURL, `${ORIGIN}/api/v1/push/service-worker.js`);
  });

  for (const [answer, code] of [
    ["denied", "denied"],
    ["default", "dismissed"],
  ]) {
    test(`says "${code}" when the prompt is answered "${answer}"`, async () => {
      const push = open();
      page.answer = answer;
      await assert.rejects(push.subscribe(), codeOf(code));
      assert.deepEqual(page.requests, []);
    });
  }

  test("makes the subscription anew once when the server holds other keys for its endpoint", async () => {
    const push = open();
    page.server.script = [refusal(409, "key_mismatch")];
    await push.subscribe();
    const [, first, second] = page.browser.requests.map(({ body }) => body?.subscription.endpoint);
    assert.notEqual(first, second);
    assert.equal(page.browser.subscription.endpoint, second);
  });

  test("does not do so for ever", async () => {
    const push = open();
    page.server.script = [refusal(409, "key_mismatch"), refusal(409, "key_mismatch")];
    await assert.rejects(push.subscribe(), codeOf("key_mismatch"));
    assert.equal(page.requests.length, 3);
  });

  test("leaves no subscription behind that the server does not know", async () => {
    const push = open();
    page.server.script = [refusal(429, "rate_limited")];
    await assert.rejects(push.subscribe(), (error) => error.code === "rate_limited" && error.status === 429);
    assert.equal(page.browser.subscription, null);
    assert.equal(await push.state(), "off");
  });

  test("keeps one that was there before, whatever the server says", async () => {
    const push = await openSubscribed();
    page.server.script = [new TypeError("network away")];
    await assert.rejects(push.subscribe(), codeOf("network_error"));
    assert.equal(await push.state(), "on");
  });

  test("names a browser whose push service is out of reach", async () => {
    const push = open();
    page.browser.subscribe = () => {
      throw new DOMException("push service error", "AbortError");
    };
    await assert.rejects(push.subscribe(), codeOf("push_service_unavailable"));
  });

  test("names a server without a key, and one that does not answer", async () => {
    const push = open();
    page.server.publicKey = "";
    await assert.rejects(push.subscribe(), codeOf("not_configured"));
    page.browser.answer = () => refusal(503, "unavailable");
    await assert.rejects(push.subscribe(), codeOf("unavailable"));
  });

  test("hands over the server's errors by field", async () => {
    const push = open();
    const errors = { subscription: ["Not on the curve."] };
    page.server.script = [{ status: 400, body: { success: false, code: "invalid", message: "No.", errors } }];
    const error = await push.subscribe().catch((caught) => caught);
    assert.deepEqual([error.name, error.message, error.errors], ["PushError", "No.", errors]);
  });

  test("takes a present subscription whose key the browser does not tell", async () => {
    const push = open();
    page.browser.permission = "granted";
    const present = page.browser.subscribe("https://push.example.net/present");
    await push.subscribe();
    assert.equal(page.browser.subscription, present);
  });

  test("replaces a present subscription made with another key", async () => {
    const push = open();
    page.browser.subscribe("https://push.example.net/present", kit.base64ToUint8Array(OTHER_KEY));
    await push.subscribe();
    assert.equal(kit.arrayBufferToBase64(page.browser.subscription.options.applicationServerKey), PUBLIC_KEY);
  });
});

describe("the service worker", () => {
  test("of the site that imports ours is used as it is", async () => {
    const push = open();
    page.browser.imported = true;
    page.browser.startWorker();
    page.registration = page.makeRegistration("/site-worker.js");
    await push.subscribe();
    assert.equal(page.registration.active.scriptURL, `${ORIGIN}/site-worker.js`);
  });

  test("of the site that does not is left alone, and the error says how to fix it", async (context) => {
    hurry(context);
    const push = open();
    page.registration = page.makeRegistration("/site-worker.js");
    page.registration.active.postMessage = () => {};
    await assert.rejects(push.subscribe(), (error) => {
      assert.match(error.message, /importScripts\("\/api\/v1\/push\/service-worker\.js"\)/);
      return error.code === "service_worker_conflict";
    });
    assert.equal(page.registration.active.scriptURL, `${ORIGIN}/site-worker.js`);
    await kit.createPush({ repair: false, replaceServiceWorker: true }).subscribe();
    assert.equal(page.registration.active.scriptURL, `${ORIGIN}/api/v1/push/service-worker.js`);
  });

  test("with a scope of the server's choice is found again at the next visit", async () => {
    page = new FakePage();
    page.server.scope = "/shop/";
    await kit.createPush({ repair: false }).subscribe();
    assert.equal(page.registration.scope, `${ORIGIN}/shop/`);
    const next = kit.createPush({ repair: false });
    assert.equal(await next.state(), "on");
    await next.detach();
    assert.equal(await kit.createPush({ repair: false }).repair(), "resent");
  });

  test("is waited for until it is active", async () => {
    const push = open();
    const coming = Object.assign(new EventTarget(), { state: "installing" });
    page.serviceWorker.register = async (url, { scope }) => {
      const { active, ...rest } = page.makeRegistration(url, scope);
      page.registration = { ...rest, active: null, installing: coming };
      setImmediate(() => {
        coming.state = "installed";
        coming.dispatchEvent(new Event("statechange"));
        Object.assign(page.registration, { active, installing: null });
        coming.state = "activated";
        coming.dispatchEvent(new Event("statechange"));
      });
      return page.registration;
    };
    assert.equal((await push.subscribe()).success, true);
  });

  test("that is active serves at once, also while its successor waits", async () => {
    const push = open();
    const register = page.serviceWorker.register;
    page.serviceWorker.register = async (...values) =>
      Object.assign(await register(...values), { waiting: Object.assign(new EventTarget(), { state: "installed" }) });
    assert.equal((await push.subscribe()).success, true);
  });

  test("that cannot be installed is an error, not a wait without end", async () => {
    const push = open();
    const coming = Object.assign(new EventTarget(), { state: "redundant" });
    page.serviceWorker.register = async () => {
      setImmediate(() => coming.dispatchEvent(new Event("statechange")));
      return { active: null, waiting: coming };
    };
    await assert.rejects(push.subscribe(), codeOf("service_worker_failed"));
  });

  test("is registered under a Trusted Types policy, and as text where that is refused", async (context) => {
    const policies = [];
    globalThis.trustedTypes = {
      createPolicy(name, { createScriptURL }) {
        policies.push(name);
        if (policies.length === 1) throw new TypeError("The page's policy does not allow it.");
        return { createScriptURL: (url) => new URL(createScriptURL(url)) };
      },
    };
    context.after(() => delete globalThis.trustedTypes);
    const registered = [];
    for (const _ of ["refused", "allowed", "made already"]) {
      const push = open();
      const { register } = page.serviceWorker;
      page.serviceWorker.register = (url, options) => register(url, options, registered.push(typeof url));
      await push.subscribe();
      page.close();
    }
    assert.deepEqual(registered, ["string", "object", "object"]);
    assert.deepEqual(policies, ["webpush-kit", "webpush-kit"]);
  });

  test("tells the page what was shown and clicked", () => {
    const push = open();
    const heard = [];
    for (const name of ["shown", "clicked"]) push.on(name, ({ id }) => heard.push(`${name} ${id}`));
    for (const type of ["webpush-kit:shown", "webpush-kit:clicked", "the host's own"]) {
      page.serviceWorker.dispatchEvent(Object.assign(new Event("message"), { data: { type, id: "1" } }));
    }
    assert.deepEqual(heard, ["shown 1", "clicked 1"]);
  });
});

describe("leaving", () => {
  test("unsubscribe() ends it here, on the server and in the worker", async () => {
    const push = await openSubscribed();
    await push.unsubscribe();
    assert.equal(page.browser.subscription, null);
    assert.equal(page.server.subscriptions.size, 0);
    assert.equal(page.browser.requests[0].headers["X-Subscription-Token"], "token-1");
    assert.equal((await workerState()).subscriptionToken, null);
    assert.equal(await push.state(), "off");
    await push.unsubscribe();
  });

  test("unsubscribe() forgets that this browser was detached", async () => {
    const push = await openSubscribed();
    await push.detach();
    await push.unsubscribe();
    const own = page.browser.subscribe("https://push.example.net/by-the-page", kit.base64ToUint8Array(PUBLIC_KEY));
    own.getKey = () => new ArrayBuffer(1);
    assert.equal(await push.state(), "off", "the server has not been told");
    await kit.PushNotificationIntegration.setupSubscription(own, {});
    assert.equal(await push.state(), "on");
  });

  test("unsubscribe() needs no active worker", async () => {
    const push = await openSubscribed();
    page.registration.active = null;
    await push.unsubscribe();
    assert.equal(page.browser.subscription, null);
  });

  test("unsubscribe() ends it here also when the server cannot be reached", async () => {
    const push = await openSubscribed();
    page.server.script = [new TypeError("network away")];
    await push.unsubscribe();
    assert.equal(page.browser.subscription, null);
  });

  test("detach() lets the same user come back without a click, and nobody else", async () => {
    const push = await openSubscribed();
    await push.detach();
    assert.equal(page.server.subscriptions.size, 0);
    assert.notEqual(page.browser.subscription, null);
    assert.equal(await push.state(), "off");
    for (const user of ["8", "", undefined]) {
      page.meta.user = user;
      page.server.user = user ?? "";
      assert.equal(await kit.createPush({ repair: false }).repair({ force: true }), "nothing", user);
    }
    page.meta.user = page.server.user = "7";
    assert.equal(page.server.subscriptions.size, 0);
    assert.equal(await push.repair(), "resent");
    assert.equal(await push.state(), "on");
    assert.equal(page.server.subscriptions.size, 1);
  });

  test("detach() without a subscription asks nothing of the server", async () => {
    await open().detach();
    assert.deepEqual(page.requests, []);
  });

  test("another user who clicks takes over the browser's subscription", async () => {
    const push = await openSubscribed();
    await push.detach();
    const { endpoint } = page.browser.subscription;
    await kit.createPush({ repair: false, user: "8" }).subscribe();
    assert.deepEqual([...page.server.subscriptions.keys()], [endpoint]);
  });
});

describe("repair", () => {
  test("asks the server nothing while nothing has changed", async () => {
    const push = await openSubscribed();
    assert.equal(await push.repair(), "fresh");
    assert.deepEqual(page.requests, []);
  });

  test("asks after twelve hours", async (context) => {
    const push = await openSubscribed();
    context.mock.timers.enable({ apis: ["Date"], now: Date.now() + 13 * 60 * 60 * 1000 });
    assert.equal(await push.repair(), "fresh");
    assert.deepEqual(
      page.requests.map((request) => request.split("?")[0]),
      ["GET config", "GET preferences"],
    );
    assert.equal(await push.repair(), "fresh");
    assert.equal(page.requests.length, 2);
  });

  test("sends an endpoint again that the server has forgotten", async () => {
    const push = await openSubscribed();
    page.server.subscriptions.clear();
    assert.equal(await push.repair({ force: true }), "resent");
    assert.deepEqual([...page.server.subscriptions.keys()], [page.browser.subscription.endpoint]);
    const { body, headers } = page.browser.requests.at(-1);
    assert.equal("preferences" in body, false, "must not overwrite stored preferences");
    assert.equal(body.old_endpoint, undefined);
    assert.equal(headers["X-Subscription-Token"], "token-1");
  });

  test("names the endpoint that the browser replaced meanwhile", async () => {
    const push = await openSubscribed();
    const { endpoint } = page.browser.subscription;
    page.browser.subscribe("https://push.example.net/replaced", kit.base64ToUint8Array(PUBLIC_KEY));
    assert.equal(await push.repair(), "resent");
    assert.equal(page.browser.requests.at(-1).body.old_endpoint, endpoint);
  });

  test("asks for the server's key again when forced", async () => {
    const push = open();
    await push.subscribe();
    page.server.publicKey = OTHER_KEY;
    assert.equal(await push.repair({ force: true }), "renewed");
  });

  test("subscribes anew when the server's key has changed", async () => {
    const push = await openSubscribed({ publicKey: OTHER_KEY });
    const { endpoint } = page.browser.subscription;
    page.server.publicKey = OTHER_KEY;
    assert.equal(await push.repair(), "renewed");
    const { body } = page.browser.requests.at(-1);
    assert.equal(body.old_endpoint, endpoint);
    assert.notEqual(body.subscription.endpoint, endpoint);
    assert.equal(kit.arrayBufferToBase64(page.browser.subscription.options.applicationServerKey), OTHER_KEY);
    page.browser.requests = [];
    assert.equal(await push.repair(), "fresh");
    assert.deepEqual(page.requests, []);
  });

  test("leaves everything as it is while nobody is signed in", async () => {
    const push = await openSubscribed({ user: "nobody" });
    page.server.signedIn = false;
    assert.equal(await push.repair({ force: true }), "nothing");
    assert.equal(await push.state(), "on");
  });

  test("leaves everything as it is, and says so, while the server is ill", async () => {
    await openSubscribed();
    page.server.answer = () => refusal(500, "server_error");
    const push = kit.createPush({ repair: false });
    push.repair({ force: true }).catch((failure) => push.report(failure));
    const error = await new Promise((resolve) => push.on("error", resolve));
    assert.ok(codeOf("server_error")(error));
    assert.equal(await push.state(), "on");
  });

  test("has nothing to do without permission or subscription", async () => {
    const push = open();
    assert.equal(await push.repair({ force: true }), "nothing");
    page.browser.permission = "granted";
    assert.equal(await push.repair({ force: true }), "nothing");
    assert.deepEqual(page.requests, []);
  });

  test("manages without localStorage", async () => {
    const push = open();
    Object.defineProperty(globalThis, "localStorage", {
      configurable: true,
      get: () => {
        throw new DOMException("denied", "SecurityError");
      },
    });
    await push.subscribe();
    assert.equal(await push.repair(), "fresh");
  });
});

describe("a second person on the same browser", () => {
  function signInAsSecond() {
    page.server.user = "8";
    if (page.meta.user) page.meta.user = "8";
  }

  test("is noticed at the next page, and not subscribed without a click", async () => {
    await openSubscribed();
    signInAsSecond();
    const second = kit.createPush({ repair: false });
    assert.equal(await second.state(), "off", "before the server is asked");
    assert.equal(await second.repair(), "ended");
    assert.equal(page.server.subscriptions.size, 0);
    assert.equal(page.browser.requests.at(-1).headers["X-Subscription-Token"], "token-1");
    assert.equal(await second.state(), "off");
    assert.equal(await second.repair({ force: true }), "nothing");
    assert.deepEqual(
      page.requests.filter((one) => one.endsWith(" subscribe")),
      [],
    );
  });

  test("leaves the first connected again when they come back", async () => {
    const first = await openSubscribed();
    signInAsSecond();
    await kit.createPush({ repair: false }).repair();
    Object.assign(page.server, { user: "7" });
    page.meta.user = "7";
    assert.equal(await first.repair(), "resent");
    assert.equal(await first.state(), "on");
  });

  test("is noticed on a page that does not say who is signed in", async () => {
    await openSubscribed();
    page.meta.user = undefined;
    const push = kit.createPush({ repair: false });
    assert.equal(await push.repair(), "fresh");
    assert.deepEqual(page.requests, ["GET config"]);
    signInAsSecond();
    const next = kit.createPush({ repair: false });
    assert.equal(await next.repair(), "ended");
    assert.equal(await next.state(), "off");
    assert.equal(page.server.subscriptions.size, 0);
  });

  test("is noticed by what the server says where storage has forgotten the first", async () => {
    await openSubscribed();
    localStorage.clear();
    page.meta.user = undefined;
    signInAsSecond();
    const second = kit.createPush({ repair: false });
    assert.equal(await second.repair(), "ended");
    assert.equal(page.browser.subscription, null, "nobody knows who may come back");
  });

  test("is noticed when the page says who has signed in", async () => {
    const push = await openSubscribed();
    signInAsSecond();
    assert.equal(await push.setUser("8"), "ended");
    assert.equal(await push.state(), "off");
  });

  test("is noticed when a page is seen again that was told of it meanwhile", async () => {
    let user = "7";
    const push = await openSubscribed({ user: () => user });
    signInAsSecond();
    user = "8";
    page.document.dispatchEvent(new Event("visibilitychange"));
    for (let turn = 0; turn < 500 && page.server.subscriptions.size; turn += 1) await new Promise(setImmediate);
    assert.equal(page.server.subscriptions.size, 0);
    assert.equal(await push.state(), "off");
  });

  test("is cut off also where the server cannot be told", async () => {
    await openSubscribed();
    signInAsSecond();
    const second = kit.createPush({ repair: false });
    page.server.answer = (
      (answer) => (request) =>
        request.url.endsWith("/unsubscribe") ? refusal(401, "invalid_token") : answer.call(page.server, request)
    )(page.server.answer);
    assert.equal(await second.repair(), "ended");
    assert.equal(page.browser.subscription, null);
  });

  test("finds the switch off where storage was cleared after detach()", async () => {
    const push = await openSubscribed();
    await push.detach();
    localStorage.clear();
    signInAsSecond();
    const second = kit.createPush({ repair: false });
    assert.equal(await second.state(), "off");
    assert.equal(await second.repair({ force: true }), "nothing");
    assert.equal(await second.state(), "off");
  });
});

describe("forgotten storage", () => {
  test("is made up for by what the worker knows", async () => {
    await openSubscribed();
    localStorage.clear();
    assert.equal(await kit.createPush({ repair: false }).state(), "on");
  });

  test("means off, until the server says whose the subscription is", async () => {
    await openSubscribed();
    localStorage.clear();
    await page.browser.message({ type: "webpush-kit:configure", endpoint: null, subscriptionToken: null });
    const push = kit.createPush({ repair: false, publicKey: PUBLIC_KEY });
    assert.equal(await push.state(), "off");
    assert.equal(await push.repair(), "fresh");
    assert.equal(await push.state(), "on");
  });

  test("means off where the server says nothing of the kind, without a click", async () => {
    await openSubscribed();
    localStorage.clear();
    await page.browser.message({ type: "webpush-kit:configure", endpoint: null, subscriptionToken: null });
    page.server.subscriptions.clear();
    const push = kit.createPush({ repair: false, publicKey: PUBLIC_KEY });
    assert.equal(await push.repair(), "nothing");
    assert.equal(await push.state(), "off");
    assert.equal(page.server.subscriptions.size, 0);
  });
});

describe("other workers and scopes", () => {
  test("another provider's subscription at a wider scope is neither ours nor touched", async (context) => {
    hurry(context);
    page = new FakePage();
    page.registration = page.makeRegistration("/their-worker.js");
    page.registration.active.postMessage = () => {};
    page.browser.permission = "granted";
    const theirs = page.browser.subscribe("https://push.example.net/theirs", kit.base64ToUint8Array(OTHER_KEY));
    for (const scope of ["/p/", "/"]) {
      const push = kit.createPush({ repair: false, scope, publicKey: PUBLIC_KEY });
      assert.equal(await push.state(), "off", scope);
      assert.equal(await push.repair({ force: true }), "nothing", scope);
      await push.unsubscribe();
      assert.equal(page.browser.subscription, theirs, scope);
    }
    assert.deepEqual(page.requests, []);
  });

  test("another provider's subscription in a worker that imports ours is ended only if told so", async () => {
    const push = open();
    page.browser.imported = true;
    page.browser.startWorker();
    page.registration = page.makeRegistration("/site-worker.js");
    const theirs = page.browser.subscribe("https://push.example.net/theirs", kit.base64ToUint8Array(OTHER_KEY));
    await assert.rejects(push.subscribe(), codeOf("subscription_conflict"));
    assert.equal(page.browser.subscription, theirs);
    await kit.createPush({ repair: false, replaceSubscription: true }).subscribe();
    assert.notEqual(page.browser.subscription, theirs);
  });

  for (const from of ["/", "/p/inner/"]) {
    test(`a subscription that the scope ${from} has left is taken over, once`, async () => {
      page = new FakePage();
      page.server.scope = "/p/";
      const former = page.addRegistration("/api/v1/push/service-worker.js", from);
      const old = former.browser.subscribe("https://push.example.net/former", kit.base64ToUint8Array(PUBLIC_KEY));
      await former.browser.message({ type: "webpush-kit:configure", baseUrl: "/api/v1/push/", endpoint: old.endpoint });
      page.server.subscriptions.set(old.endpoint, {});
      page.browser.permission = "granted";
      page.browser.scope = `${ORIGIN}/p/`;
      page.browser.startWorker();

      const push = kit.createPush({ repair: false, scope: "/p/", publicKey: PUBLIC_KEY });
      assert.equal(await push.state(), "on");
      assert.equal(await push.repair(), "renewed");
      assert.equal(page.browser.requests.at(-1).body.old_endpoint, old.endpoint);
      assert.equal(former.browser.subscription, null);
      assert.deepEqual(page.others, []);
      assert.equal(await push.state(), "on");
      assert.equal(await push.repair(), "fresh");
      await push.unsubscribe();
      assert.equal(page.browser.subscription, null);
    });
  }

  test("a scope that the head says is taken over within the first page, though the last check was a moment ago", async () => {
    page = new FakePage({ meta: { key: PUBLIC_KEY } });
    await kit.createPush({ repair: false }).subscribe();
    const former = page.registration;
    page.meta.scope = "/p/";
    page.server.scope = "/p/";
    page.others = [former];
    page.registration = null;
    page.browser.scope = `${ORIGIN}/p/`;
    const push = kit.createPush({ repair: false });
    assert.equal(await push.repair(), "renewed");
    assert.equal(page.registration.scope, `${ORIGIN}/p/`);
  });

  test("switching off ends a subscription that a former scope has left, too", async () => {
    page = new FakePage();
    const former = page.addRegistration("/api/v1/push/service-worker.js", "/");
    const old = former.browser.subscribe("https://push.example.net/former", kit.base64ToUint8Array(PUBLIC_KEY));
    await former.browser.message({ type: "webpush-kit:configure", baseUrl: "/api/v1/push/", endpoint: old.endpoint });
    page.server.subscriptions.set(old.endpoint, {});
    await kit.createPush({ repair: false, scope: "/p/", publicKey: PUBLIC_KEY }).unsubscribe();
    assert.equal(former.browser.subscription, null);
    assert.equal(page.server.subscriptions.size, 0);
  });

  test("a second site on a path of the origin is left alone, also with the same key", async () => {
    page = new FakePage();
    const other = page.addRegistration("/shop/push/service-worker.js", "/shop/");
    const theirs = other.browser.subscribe("https://push.example.net/shop", kit.base64ToUint8Array(PUBLIC_KEY));
    await other.browser.message({ type: "webpush-kit:configure", baseUrl: "/shop/push/", endpoint: theirs.endpoint });
    const push = kit.createPush({ repair: false, publicKey: PUBLIC_KEY });
    assert.equal(await push.state(), "off");
    await push.subscribe();
    await push.unsubscribe();
    assert.equal(other.browser.subscription, theirs);
    assert.equal(page.others.length, 1);
  });

  test("a worker of the site that took our place is noticed and named", async (context) => {
    hurry(context);
    await openSubscribed();
    page.registration.active = { scriptURL: `${ORIGIN}/workbox.js`, postMessage: () => {} };
    const push = kit.createPush({ repair: false });
    assert.equal(await push.state(), "conflict");
    await assert.rejects(push.repair(), (error) => {
      assert.match(error.message, /importScripts/);
      return error.code === "service_worker_conflict";
    });
  });

  test("our own worker at a former URL is replaced", async () => {
    const push = await openSubscribed();
    page.registration.active.scriptURL = `${ORIGIN}/former/push/service-worker.js`;
    await push.subscribe();
    assert.equal(page.registration.active.scriptURL, `${ORIGIN}/api/v1/push/service-worker.js`);
  });
});

describe("a browser that shows declarative messages without a worker", () => {
  /** Safari 18.4 and later, in front of a server whose messages are declarative. */
  function openSafari(options = {}, pageOptions = {}) {
    const push = open({ publicKey: PUBLIC_KEY, ...options }, { hasWindowPush: true, ...pageOptions });
    page.server.isDeclarative = true;
    return push;
  }

  /** The same where the worker cannot be installed. */
  function openWithoutWorker(options = {}) {
    const push = openSafari(options);
    page.serviceWorker.register = () => Promise.reject(new TypeError("worker-src 'none'"));
    return push;
  }

  /** The site's data are gone as after seven days without a visit: the worker, its memory and the page's. */
  function forgetEverything() {
    localStorage.clear();
    page.registration = null;
    page.browser.indexedDB = new FakeIndexedDB();
    page.browser.startWorker();
  }

  for (const [name, openIt] of [
    ["has no service workers at all", () => openSafari({}, { serviceWorker: undefined })],
    ["cannot install ours", openWithoutWorker],
  ]) {
    test(`subscribes, repairs and unsubscribes where it ${name}`, async () => {
      const push = openIt();
      assert.equal(await push.state(), "off");
      await push.subscribe();
      assert.equal(await push.state(), "on");
      assert.equal(page.registration, null);
      assert.equal(await push.repair({ force: true }), "fresh");
      assert.deepEqual(await push.preferences(), {});
      await push.unsubscribe();
      assert.equal(page.browser.subscription, null);
      assert.equal(page.server.subscriptions.size, 0);
      assert.equal(await push.state(), "off");
    });
  }

  test("installs the worker where it can, with the same subscription", async () => {
    const push = openWithoutWorker();
    await push.subscribe();
    const { endpoint } = page.browser.subscription;
    page.serviceWorker.register = async (url, { scope }) => (page.registration = page.makeRegistration(url, scope));
    assert.equal(await push.repair({ force: true }), "fresh");
    assert.notEqual(page.registration, null);
    assert.equal(page.browser.subscription.endpoint, endpoint);
    assert.equal((await workerState()).endpoint, endpoint);
  });

  test("keeps the token that proves it in the page's storage, until it is invalid", async () => {
    const push = openWithoutWorker();
    await push.subscribe();
    await push.updatePreferences({ categories: {} });
    assert.equal(page.browser.requests.at(-1).headers["X-Subscription-Token"], "token-1");
    await push.repair({ force: true });
    await push.sendTestNotification();
    assert.equal(page.browser.requests.at(-1).headers["X-Subscription-Token"], "token-1");
    await push.detach();
    await push.repair();
    const resent = page.browser.requests.findLast(({ url }) => url.endsWith("/subscribe"));
    assert.equal(resent.headers["X-Subscription-Token"], undefined);
    assert.equal(await push.state(), "on");
  });

  test("leaves the token to the worker where there is one", async () => {
    await openSafari().subscribe();
    assert.equal((await workerState()).subscriptionToken, "token-1");
    assert.ok(!Object.values(localStorage.all()).join().includes("token-1"));
  });

  test("finds the subscription that has outlived everything, once the server has said whose it is", async () => {
    const push = openSafari();
    await push.subscribe();
    const { endpoint } = page.browser.subscription;
    forgetEverything();
    assert.equal(await push.state(), "off");
    assert.equal(await push.repair(), "fresh");
    assert.equal(await push.state(), "on");
    assert.equal(page.browser.subscription.endpoint, endpoint);
    assert.notEqual(page.registration, null);
  });

  test("leaves the subscription of another user alone that has outlived everything", async () => {
    const push = openSafari();
    await push.subscribe();
    forgetEverything();
    page.server.user = "8";
    page.meta.user = "8";
    assert.equal(await push.repair({ force: true }), "nothing");
    assert.equal(await push.state(), "off");
  });

  test("leaves another provider's subscription without a worker alone, unless it is told to replace it", async () => {
    for (const openIt of [openSafari, openWithoutWorker]) {
      const push = openIt();
      const theirs = page.browser.subscribe("https://push.example.net/theirs", kit.base64ToUint8Array(OTHER_KEY));
      page.browser.permission = "granted";
      assert.equal(await push.state(), "off");
      assert.equal(await push.repair({ force: true }), "nothing");
      await push.unsubscribe();
      await assert.rejects(push.subscribe(), codeOf("subscription_conflict"));
      assert.equal(page.browser.subscription, theirs);
      await kit.createPush({ repair: false, replaceSubscription: true }).subscribe();
      assert.notEqual(page.browser.subscription, theirs);
      page.close();
    }
  });

  test("needs a worker where messages are not declarative, or the scope is not the whole site", async () => {
    const classic = openWithoutWorker();
    page.server.isDeclarative = false;
    await assert.rejects(classic.subscribe(), codeOf("service_worker_failed"));
    page.close();
    await assert.rejects(openWithoutWorker({ scope: "/p/" }).subscribe(), codeOf("service_worker_failed"));
    assert.equal(page.browser.subscription, null);
  });

  test("still follows the permission and the user without service workers", async () => {
    const push = openSafari({}, { serviceWorker: undefined });
    await push.subscribe();
    const states = [];
    push.on("change", (state) => states.push(state));
    page.browser.permission = "denied";
    page.document.dispatchEvent(new Event("visibilitychange"));
    await new Promise(setImmediate);
    assert.deepEqual(states, ["denied"]);
  });
});

describe("what prevents notifications", () => {
  const given = (context, name, value) => {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { configurable: true, ...value });
    context.after(() =>
      before ? Object.defineProperty(globalThis, name, before) : Reflect.deleteProperty(globalThis, name),
    );
  };

  test("is a page without https", async (context) => {
    const push = open({}, { supported: false });
    given(context, "isSecureContext", { value: false });
    assert.equal(await push.state(), "insecure");
    await assert.rejects(push.subscribe(), codeOf("insecure"));
    assert.equal(await push.repair(), "nothing");
  });

  for (const [what, name, value] of [
    ["a frame of another site", "top", { value: new Proxy({}, { get: () => assert.fail("another origin") }) }],
    ["a sandbox", "origin", { value: "null" }],
  ]) {
    test(`is ${what}`, async (context) => {
      const push = open();
      given(context, name, value);
      assert.equal(await push.state(), "framed");
      await assert.rejects(push.subscribe(), codeOf("framed"));
      assert.equal(page.prompts, 0);
    });
  }

  test("is not a frame of the same site", async (context) => {
    const push = open();
    given(context, "top", { value: { location: { href: `${ORIGIN}/outer/` } } });
    assert.equal(await push.state(), "off");
  });

  test("is that cookies and site data are blocked, whether access or use fails", async () => {
    const refuse = () => {
      throw new DOMException("blocked", "SecurityError");
    };
    const push = open();
    page.serviceWorker.getRegistration = async () => refuse();
    assert.equal(await push.state(), "storage-blocked");
    await assert.rejects(push.subscribe(), codeOf("storage_blocked"));
    page.close();
    page = new FakePage();
    Object.defineProperty(globalThis.navigator, "serviceWorker", { get: refuse });
    const next = kit.createPush({ repair: false });
    assert.equal(await next.state(), "storage-blocked");
    await assert.rejects(next.subscribe(), codeOf("storage_blocked"));
  });

  test("is a key that is malformed, or that the browser refuses", async () => {
    const push = open();
    page.server.publicKey = "%%%";
    await assert.rejects(push.subscribe(), codeOf("invalid_key"));
    const next = open();
    page.browser.subscribe = () => {
      throw new DOMException("not a P-256 key", "InvalidAccessError");
    };
    await assert.rejects(next.subscribe(), codeOf("invalid_key"));
  });

  test("has a message that says how to fix it, for each code", () => {
    for (const [code, message] of Object.entries(kit.PUSH_ERRORS)) {
      assert.match(code, /^[a-z_]+$/);
      assert.equal(new kit.PushError(code).message, message);
    }
  });
});

describe("two managers on a page", () => {
  test("that subscribe at once make one subscription", async () => {
    const one = open();
    const other = kit.createPush({ repair: false });
    await Promise.all([one.subscribe(), other.subscribe()]);
    assert.equal(page.server.subscriptions.size, 1);
  });

  test("answer the worker once", () => {
    open();
    kit.createPush({ repair: false });
    const answers = [];
    const event = new Event("message");
    const data = { type: "webpush-kit:where" };
    Object.assign(event, { data, ports: [{ postMessage: (answer) => answers.push(answer) }] });
    page.serviceWorker.dispatchEvent(event);
    assert.deepEqual(answers, [{ href: `${ORIGIN}/page/` }]);
  });
});

describe("a click that leads this page elsewhere", () => {
  function ask(url, isForced = false) {
    const answers = [];
    const event = new Event("message");
    const data = { type: "webpush-kit:navigate", url, isForced };
    Object.assign(event, { data, ports: [{ postMessage: (answer) => answers.push(answer) }] });
    page.serviceWorker.dispatchEvent(event);
    return answers[0].isHandled;
  }

  test("may be taken over by the site's router, through the manager or the document", () => {
    const push = open();
    const asked = [];
    const stop = push.on("navigate", (navigation) => {
      asked.push(navigation.url);
      navigation.preventDefault();
    });
    assert.equal(ask(`${ORIGIN}/there`), true);
    stop();
    page.document.addEventListener("webpush-navigate", (event) => {
      asked.push(event.detail.url);
      event.preventDefault();
    });
    assert.equal(ask(`${ORIGIN}/there`), true);
    assert.deepEqual(asked, [`${ORIGIN}/there`, `${ORIGIN}/there`]);
  });

  test("is left to the worker, except for fragments and pages it cannot navigate", () => {
    open();
    const gone = [];
    globalThis.location.assign = (url) => gone.push(url);
    assert.equal(ask(`${ORIGIN}/there`), false);
    assert.equal(ask(`${ORIGIN}/page/#part`), true);
    assert.equal(ask(`${ORIGIN}/there`, true), true);
    assert.equal(ask("https://elsewhere.example/", true), false);
    assert.deepEqual(gone, [`${ORIGIN}/page/#part`, `${ORIGIN}/there`]);
  });
});

describe("preferences and test", () => {
  test("go to the server for this browser's endpoint", async () => {
    const push = await openSubscribed();
    assert.deepEqual(await push.preferences(), { categories: { news: true } });
    await push.updatePreferences({ categories: { news: false } });
    assert.deepEqual(await push.preferences(), { categories: { news: false } });
    assert.equal((await push.sendTestNotification()).message, "Done.");
    assert.equal(page.browser.requests.at(-1).body.endpoint, page.browser.subscription.endpoint);
  });

  test("prove the browser where there is no session", async () => {
    const push = await openSubscribed();
    for (const call of ["preferences", "updatePreferences", "sendTestNotification"]) {
      await push[call]({});
      assert.equal(page.browser.requests.at(-1).headers["X-Subscription-Token"], "token-1", call);
    }
  });

  test("need a subscription", async () => {
    const push = open();
    for (const call of ["preferences", "updatePreferences", "sendTestNotification"]) {
      await assert.rejects(push[call]({}), codeOf("not_subscribed"));
    }
  });

  test("pass the server's refusal on", async () => {
    const push = await openSubscribed();
    page.server.script = [refusal(400, "invalid")];
    await assert.rejects(push.updatePreferences({}), codeOf("invalid"));
  });
});

describe("events", () => {
  test("reach their listeners until these are taken off", () => {
    const push = open();
    const errors = [];
    const off = push.on("error", (error) => errors.push(error.code));
    push.report(new Error("anything"));
    off();
    push.report(new kit.PushError("late"));
    assert.deepEqual(errors, ["failed"]);
  });

  test("that a listener fails at spoil neither the other listeners nor subscribe()", async (context) => {
    const push = open();
    const later = [];
    context.mock.method(globalThis, "setTimeout", (run) => later.push(run));
    push.on("change", () => {
      throw new Error("the site's mistake");
    });
    const states = [];
    push.on("change", (state) => states.push(state));
    assert.equal((await push.subscribe()).success, true);
    assert.deepEqual(states, ["on"]);
    assert.ok(later.some((run) => !run.toString().includes("resolve")));
  });
});

describe("the API client", () => {
  const answerTo = async (api, path = "test", init = { method: "POST", body: "{}" }) => {
    await api.makeRequest(path, init);
    return page.browser.requests.at(-1);
  };

  test("resolves the server's refusal, and a network that is away, to a value", async () => {
    const { api } = open();
    page.server.script = [refusal(400, "invalid"), new TypeError("away"), { status: 502, body: "not an object" }];
    const refused = await api.sendTestNotification("https://push.example.net/1");
    assert.deepEqual(
      [refused.success, refused.status, refused.code, refused.message],
      [false, 400, "invalid", "No: invalid."],
    );
    const away = await api.sendTestNotification("https://push.example.net/1");
    assert.deepEqual([away.success, away.status, away.code], [false, 0, "network_error"]);
    const gateway = await api.sendTestNotification("https://push.example.net/1");
    assert.deepEqual([gateway.success, gateway.code], [false, "http_502"]);
  });

  test("takes a page for an error: a site that answers every path has answered, not the API", async () => {
    const html = { ok: true, status: 200, statusText: "OK", json: async () => JSON.parse("<!doctype html>") };
    const push = open({ fetch: async () => html });
    const { success, code, message } = await push.api.createSubscription({ endpoint: "https://push.example/1" });
    assert.deepEqual([success, code], [false, "http_200"]);
    assert.match(message, /\/api\/v1\/push\/subscribe$/);
    await assert.rejects(push.subscribe(), codeOf("http_200"));
    assert.equal(await push.state(), "off");
  });

  test("understands paths as the API names them, and with /push/ before them", () => {
    const { api } = open({ baseUrl: "/hooks/push" });
    for (const path of ["subscribe", "/subscribe", "push/subscribe", "/push/subscribe"]) {
      assert.equal(api.url(path), `${ORIGIN}/hooks/push/subscribe`);
    }
  });

  test("takes the CSRF token from option, meta tag or cookie, in this order", async () => {
    const cookie = "a=b; csrftoken=from%20cookie; x=y";
    const token = async (options, pageOptions) =>
      (await answerTo(open(options, pageOptions).api)).headers["X-CSRFToken"];
    assert.equal(await token({ csrfToken: "given" }, { cookie }), "given");
    assert.equal(await token({ csrfToken: () => "computed" }, { cookie }), "computed");
    assert.equal(await token({}, { cookie }), "from-meta");
    assert.equal(await token({}, { cookie, meta: { csrf: undefined } }), "from cookie");
    assert.equal(await token({ csrfCookie: "x" }, { cookie, meta: { csrf: undefined } }), "y");
    assert.equal(await token({}, { meta: { csrf: undefined } }), undefined);
  });

  test("sends a token it found to its own origin only, and never with a GET", async () => {
    const foreign = open({ baseUrl: "https://api.example.org/push/" }, { cookie: "csrftoken=c" });
    assert.equal((await answerTo(foreign.api)).headers["X-CSRFToken"], undefined);
    const { api } = open({ csrfToken: "given" });
    assert.equal((await answerTo(api, "config", {})).headers["X-CSRFToken"], undefined);
  });

  test("adds the host's headers, from an object or an async function", async () => {
    for (const headers of [{ Authorization: "Bearer 1" }, async () => ({ Authorization: "Bearer 1" })]) {
      const request = await answerTo(open({ headers, credentials: "include" }).api);
      assert.equal(request.headers.Authorization, "Bearer 1");
      assert.equal(request.headers["Content-Type"], "application/json");
      assert.equal(request.credentials, "include");
    }
  });
});

describe("PushNotificationIntegration", () => {
  const subscription = {
    endpoint: "https://push.example.net/1",
    getKey: (name) => Uint8Array.from(name === "auth" ? [251, 255] : [4, 0, 1]).buffer,
  };

  test("tells the server of a subscription the page made by itself", async () => {
    open();
    const result = await kit.PushNotificationIntegration.setupSubscription(subscription, { categories: {} });
    assert.deepEqual(result, { success: true, error: "" });
    assert.deepEqual(page.browser.requests[0].body.subscription, {
      endpoint: subscription.endpoint,
      expirationTime: null,
      keys: { p256dh: "BAAB", auth: "-_8" },
    });
  });

  test("returns the server's message as the error", async () => {
    open();
    page.server.script = [refusal(400, "invalid")];
    const result = await kit.PushNotificationIntegration.setupSubscription(subscription, {});
    assert.deepEqual(result, { success: false, error: "No: invalid." });
  });

  test("uses the client it is given", async (context) => {
    open();
    kit.PushNotificationIntegration.api = new MockPushNotificationAPI({ delay: 0 });
    context.after(() => (kit.PushNotificationIntegration.api = null));
    await kit.PushNotificationIntegration.setupSubscription(subscription, {});
    assert.deepEqual(page.requests, []);
  });
});

describe("the mock API", () => {
  test("serves a whole life of a subscription without a server", async () => {
    const push = open({ api: new MockPushNotificationAPI({ delay: 0 }) });
    const answer = await push.subscribe({ categories: { a: true } });
    assert.equal(typeof answer.subscription_id, "number");
    assert.deepEqual(await push.preferences(), { categories: { a: true } });
    await push.updatePreferences({ categories: { a: false } });
    assert.deepEqual(await push.preferences(), { categories: { a: false } });
    assert.equal((await push.sendTestNotification()).success, true);
    const { endpoint } = await push.subscription();
    await push.unsubscribe();
    assert.equal((await push.api.getPreferences(endpoint)).status, 404);
    assert.deepEqual((await push.api.makeRequest("/push/anything")).success, true);
    assert.deepEqual(page.requests, []);
  });

  test("knows its subscriptions after a reload, and works without storage", async () => {
    const options = { delay: 0 };
    await open({ api: new MockPushNotificationAPI(options) }).subscribe({ categories: { news: true } });
    const push = kit.createPush({ repair: false, api: new MockPushNotificationAPI(options) });
    assert.deepEqual(await push.preferences(), { categories: { news: true } });
    await push.unsubscribe();
    assert.equal(new MockPushNotificationAPI(options).mockSubscriptions.size, 0);
    localStorage.setItem("webpush-kit-mock", "{");
    assert.equal(new MockPushNotificationAPI(options).mockSubscriptions.size, 0);
  });

  test("shows its test by a worker where pages cannot, as in Chrome on Android", async () => {
    const push = open({ api: new MockPushNotificationAPI({ delay: 0 }) });
    await push.subscribe();
    assert.throws(() => new Notification("By the page"), TypeError);
    assert.throws(() => new Notification("By the page"), TypeError);
    await push.sendTestNotification();
    await new Promise(setImmediate);
    assert.deepEqual(page.shown, ["Test notification"]);
  });

  test("fails on demand, and keeps what it knew", async () => {
    let code = "network_error";
    const api = new MockPushNotificationAPI({ delay: 0, fail: (method) => (method === "getConfig" ? "" : code) });
    const push = open({ api });
    await assert.rejects(push.subscribe(), codeOf("network_error"));
    assert.equal(await push.state(), "off");
    code = "";
    await push.subscribe();
    assert.equal(await push.state(), "on");
  });

  test("answers after the delay it is given", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    let answered = false;
    const api = new MockPushNotificationAPI();
    const answer = api.createSubscription({ endpoint: "https://push.example.net/1" }).then(() => (answered = true));
    context.mock.timers.tick(499);
    await new Promise(setImmediate);
    assert.equal(answered, false);
    context.mock.timers.tick(1);
    await answer;
  });
});

test("the first manager of a page is everyone's", () => {
  const first = open();
  kit.createPush({ repair: false });
  assert.equal(kit.defaultPush(), first);
  page.close();
  page = new FakePage();
  assert.notEqual(kit.defaultPush(), first);
});

test("base64url goes both ways, padded and standard forms are read", () => {
  const bytes = Uint8Array.from([251, 255, 254, 0]);
  assert.equal(kit.arrayBufferToBase64(bytes.buffer), "-__-AA");
  for (const text of ["-__-AA", "+//+AA==", "-__-AA=="]) assert.deepEqual(kit.base64ToUint8Array(text), bytes);
});
