/** `<webpush-toggle>` and the agreement of the modules with their type declarations. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, test } from "node:test";
import { pathToFileURL } from "node:url";

import { PUBLIC_KEY, STATIC } from "./fake_browser.mjs";
import { FakeElement, FakePage, load, place, refusal } from "./fake_page.mjs";

let page = new FakePage();
const { WebPushToggle } = await load("webpush-kit-elements.js");
const { createPush } = await load("webpush-kit.js");
page.close();

afterEach(() => page.close());

/** Lets everything run that is on its way, until the toggle is no longer busy; files are read meanwhile. */
async function settle(toggle) {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  for (let turn = 0; turn < 5000 && toggle.state === "busy"; turn += 1) await new Promise((done) => later(done, 1));
}

const later = globalThis.setTimeout;

async function attach({ attributes = {}, children = [], pageOptions = {} } = {}) {
  page = new FakePage({ lang: "en", ...pageOptions });
  const toggle = new WebPushToggle();
  toggle.push = createPush({ repair: false });
  for (const [name, value] of Object.entries(attributes)) toggle.setAttribute(name, value);
  for (const child of children) toggle.append(child);
  const heard = [];
  toggle.addEventListener("webpush-change", ({ detail }) => heard.push(detail.state));
  toggle.addEventListener("webpush-error", ({ detail }) => heard.push(detail.error.code ?? detail.error.message));
  toggle.connectedCallback();
  await settle(toggle);
  const [button, status] = [toggle.querySelector("button"), toggle.querySelector("[role=status]")];
  const click = async () => {
    button.dispatchEvent(new Event("click"));
    await settle(toggle);
  };
  return { toggle, button, status, heard, click };
}

describe("<webpush-toggle>", () => {
  test("is a switch that says its state", async () => {
    const { toggle, button, status, heard, click } = await attach({ attributes: { label: "Neues" } });
    assert.equal(button.textContent, "Neues");
    assert.equal(button.getAttribute("role"), "switch");
    const seen = () => [
      toggle.state,
      toggle.getAttribute("state"),
      button.getAttribute("aria-checked"),
      status.textContent,
    ];
    assert.deepEqual(seen(), ["off", "off", "false", "Off"]);
    await click();
    assert.deepEqual(seen(), ["on", "on", "true", "On"]);
    await click();
    assert.deepEqual(seen(), ["off", "off", "false", "Off"]);
    assert.deepEqual(heard, ["off", "on", "off"]);
  });

  test("asks for permission within the click, is busy meanwhile, and ignores a second click", async () => {
    const { toggle, button } = await attach();
    button.dispatchEvent(new Event("click"));
    assert.equal(page.prompts, 1);
    assert.equal(toggle.state, "busy");
    assert.equal(button.getAttribute("aria-busy"), "true");
    button.dispatchEvent(new Event("click"));
    await settle(toggle);
    assert.equal(page.prompts, 1);
    assert.equal(toggle.state, "on");
  });

  test("tells what went wrong and shows where that leaves us", async () => {
    const { toggle, status, heard, click } = await attach({ attributes: { "text-denied": "Gesperrt" } });
    page.answer = "denied";
    await click();
    assert.deepEqual(heard, ["off", "denied", "denied"]);
    assert.equal(toggle.state, "denied");
    assert.equal(status.textContent, "Gesperrt");
    await click();
    assert.equal(page.prompts, 1);
  });

  test("stays focusable where it can do nothing, with the reason beside it", async () => {
    const { toggle, button, status } = await attach({ pageOptions: { supported: false } });
    assert.equal(toggle.state, "unsupported");
    assert.equal(button.getAttribute("aria-disabled"), "true");
    assert.equal(button.disabled, undefined);
    assert.notEqual(status.textContent, "");
  });

  for (const [hostname, isNamed] of [
    ["192.168.1.5", true],
    ["0.0.0.0", true],
    ["[fe80::1]", true],
    ["laptop", true],
    ["laptop.local", true],
    ["www.example.com", false],
  ])
    test(`${isNamed ? "names" : "does not name"} localhost where ${hostname} is not secure`, async (context) => {
      const before = Object.getOwnPropertyDescriptor(globalThis, "isSecureContext");
      Object.defineProperty(globalThis, "isSecureContext", { configurable: true, value: false });
      context.after(() =>
        before
          ? Object.defineProperty(globalThis, "isSecureContext", before)
          : Reflect.deleteProperty(globalThis, "isSecureContext"),
      );
      const { toggle, status } = await attach({ pageOptions: { hostname } });
      assert.equal(toggle.state, "insecure");
      assert.match(status.textContent, /https/);
      assert.equal(/http:\/\/localhost/.test(status.textContent), isNamed, status.textContent);
      const own = await attach({ pageOptions: { hostname }, attributes: { "text-insecure": "Own words" } });
      assert.equal(own.status.textContent, "Own words");
    });

  test("uses the button and the status it finds inside, once", async () => {
    const given = Object.assign(new FakeElement(), { type: "button", textContent: "Mine" });
    const { toggle, button } = await attach({ children: [given] });
    assert.equal(button, given);
    assert.equal(button.textContent, "Mine");
    toggle.disconnectedCallback();
    toggle.connectedCallback();
    await settle(toggle);
    assert.equal(toggle.children.length, 2);
  });

  test("keeps the button of a copy of the page for its own", async () => {
    const copied = Object.assign(new FakeElement("button"), { textContent: "Former words" });
    copied.setAttribute("data-webpush-switch", "");
    const { button } = await attach({ attributes: { label: "Neues" }, children: [copied] });
    assert.equal(button, copied);
    assert.equal(button.textContent, "Neues");
  });

  test("follows changes made elsewhere, until it leaves the page", async () => {
    const { toggle, button, heard } = await attach();
    await toggle.push.subscribe();
    assert.equal(toggle.state, "on");
    toggle.disconnectedCallback();
    await toggle.push.unsubscribe();
    assert.equal(toggle.state, "on");
    button.dispatchEvent(new Event("click"));
    await settle(toggle);
    assert.deepEqual(heard, ["off", "on"]);
    assert.equal(page.prompts, 1);
  });

  test("is off when the state cannot be found out", async () => {
    const { toggle, heard } = await attach();
    toggle.push.state = async () => {
      throw new Error("out of memory");
    };
    toggle.disconnectedCallback();
    toggle.connectedCallback();
    await settle(toggle);
    assert.equal(toggle.state, "off");
    assert.deepEqual(heard, ["off", "failed", "off"]);
  });

  test("says so where cookies and site data are blocked", async () => {
    const { toggle, status } = await attach();
    page.serviceWorker.getRegistration = async () => {
      throw new DOMException("storage is blocked", "SecurityError");
    };
    toggle.disconnectedCallback();
    toggle.connectedCallback();
    await settle(toggle);
    assert.equal(toggle.state, "storage-blocked");
    assert.match(status.textContent, /Allow cookies/);
  });
});

describe("<webpush-toggle> that went wrong", () => {
  for (const [what, code, prepare, text] of [
    [
      "without a session",
      "not_authenticated",
      () => (page.server.script = [refusal(401, "not_authenticated")]),
      "Sign in to receive notifications.",
    ],
    [
      "on a server without a key",
      "not_configured",
      () => (page.server.publicKey = ""),
      "This site cannot send notifications yet.",
    ],
    ["for the server's reasons", "too_many", () => (page.server.script = [refusal(403, "too_many")]), "No: too_many."],
  ]) {
    test(`${what} says why beside the switch until the next click`, async () => {
      const { toggle, status, heard, click } = await attach();
      prepare();
      await click();
      assert.deepEqual([toggle.state, toggle.getAttribute("error"), status.textContent], ["off", code, text]);
      assert.equal(status.getAttribute("role"), "status", "which is announced");
      assert.ok(heard.includes(code), heard.join());
      Object.assign(page.server, { publicKey: PUBLIC_KEY, script: [] });
      toggle.push = createPush({ repair: false });
      await settle(toggle);
      await click();
      assert.deepEqual([toggle.state, toggle.getAttribute("error"), status.textContent], ["on", null, "On"]);
    });
  }

  test("uses the site's own words", async () => {
    const { status, click } = await attach({ attributes: { "text-not-authenticated": "Bitte anmelden" } });
    page.server.script = [refusal(401, "not_authenticated")];
    await click();
    assert.equal(status.textContent, "Bitte anmelden");
  });

  test("hears of errors in the background, too", async () => {
    const { toggle, heard } = await attach();
    toggle.push.report(new Error("anything"));
    assert.deepEqual(heard, ["off", "failed"]);
  });
});

describe("<webpush-toggle> in frameworks", () => {
  test("takes properties that were set before it was defined", async () => {
    page = new FakePage();
    const toggle = new WebPushToggle();
    const push = createPush({ repair: false });
    for (const [name, value] of Object.entries({ push, preferences: { categories: { news: true } } })) {
      Object.defineProperty(toggle, name, { value, configurable: true, writable: true, enumerable: true });
    }
    toggle.connectedCallback();
    assert.equal(toggle.push, push);
    assert.deepEqual(toggle.preferences, { categories: { news: true } });
    assert.equal(Object.hasOwn(toggle, "push") || Object.hasOwn(toggle, "preferences"), false);
  });

  test("declares its properties, so that they are not made attributes", () => {
    for (const name of ["push", "preferences", "state"]) assert.ok(name in WebPushToggle.prototype, name);
  });

  test("reads preferences as JSON from the attribute, and nothing from anything else", async () => {
    const { toggle } = await attach({ attributes: { preferences: '{"categories": {"news": false}}' } });
    assert.deepEqual(toggle.preferences, { categories: { news: false } });
    for (const text of ["[object Object]", "7", ""]) {
      toggle.setAttribute("preferences", text);
      assert.deepEqual(toggle.preferences, {}, text);
    }
    toggle.preferences = '{"categories": {}}';
    assert.deepEqual(toggle.preferences, { categories: {} });
  });

  test("restores the attribute that a morph took away, and follows texts that change", async () => {
    const { toggle, status } = await attach();
    toggle.removeAttribute("state");
    toggle.attributeChangedCallback("state", "off", null);
    assert.equal(toggle.getAttribute("state"), "off");
    toggle.setAttribute("text-off", "Aus");
    toggle.attributeChangedCallback("text-off", null, "Aus");
    assert.equal(status.textContent, "Aus");
  });

  test("sends events that leave shadow roots", async () => {
    const { toggle } = await attach();
    const events = [];
    for (const name of ["webpush-change", "webpush-error"])
      toggle.addEventListener(name, (event) => events.push(event));
    await toggle.push.subscribe();
    toggle.push.report(new Error("anything"));
    assert.equal(events.length, 2);
    assert.ok(events.every(({ bubbles, composed }) => bubbles && composed));
  });

  const run = (code) => spawnSync(process.execPath, ["--input-type=module", "--eval", code], { encoding: "utf8" });
  const url = (name) => JSON.stringify(pathToFileURL(place(name)).href);

  for (const name of ["webpush-kit.js", "webpush-kit-elements.js", "webpush-kit-mock.js"]) {
    test(`${name} can be imported on a server`, () => {
      const { stdout, stderr } = run(`await import(${url(name)}); console.log("imported");`);
      assert.equal(stdout, "imported\n", stderr);
    });
  }

  test("a manager can be made on a server, where push is unsupported", () => {
    const { stdout, stderr } = run(`
      import { createPush } from ${url("webpush-kit.js")};
      console.log(await createPush({ baseUrl: "https://api.example/" }).state());`);
    assert.equal(stdout, "unsupported\n", stderr);
  });
});

describe("<webpush-toggle> and the module", () => {
  const around = `
    import { FakePage, load, place } from ${JSON.stringify(new URL("fake_page.mjs", import.meta.url).href)};
    import { renameSync } from "node:fs";
    import { pathToFileURL } from "node:url";
    const page = new FakePage({ lang: "en" });
    const until = async (holds) => { while (!holds()) await new Promise(setImmediate); };
    const { WebPushToggle } = await load("webpush-kit-elements.js");
    const toggle = new WebPushToggle();`;
  const run = (code) =>
    spawnSync(process.execPath, ["--input-type=module", "--eval", around + code], { encoding: "utf8", timeout: 30000 });

  test("it loads the one that the head names, whatever its name", () => {
    const { stdout, stderr } = run(`
      renameSync(place("webpush-kit.js"), place("webpush-kit.0123456789ab.js"));
      page.meta.module = pathToFileURL(place("webpush-kit.0123456789ab.js")).href;
      toggle.connectedCallback();
      await until(() => toggle.state === "off");
      const { PushNotificationManager } = await load("webpush-kit.0123456789ab.js");
      console.log(toggle.push instanceof PushNotificationManager);`);
    assert.equal(stdout, "true\n", stderr);
    const source = readFileSync(new URL("webpush-kit-elements.js", STATIC), "utf8");
    assert.doesNotMatch(source, /^import\b/m, "its URL may be another one");
  });

  test("it shares the page's first manager, also with another copy of the module", () => {
    const { stdout, stderr } = run(`
      const push = (await load("webpush-kit.js?copy")).createPush({ repair: false });
      toggle.connectedCallback();
      await until(() => toggle.state === "off");
      console.log(toggle.push === push);`);
    assert.equal(stdout, "true\n", stderr);
  });

  test("it loads the one beside it where the head names none", () => {
    const { stdout, stderr } = run(`
      toggle.connectedCallback();
      const before = toggle.push;
      await until(() => toggle.state === "off");
      console.log(before, toggle.push.constructor.name, toggle.querySelector("[role=status]").textContent);`);
    assert.equal(stdout, "null PushNotificationManager Off\n", stderr);
  });

  test("it follows one manager, however often it was moved while the module was loaded", () => {
    const { stdout, stderr } = run(`
      const changes = [];
      toggle.addEventListener("webpush-change", ({ detail }) => changes.push(detail.state));
      for (const move of ["connected", "disconnected", "connected"]) toggle[move + "Callback"]();
      await until(() => toggle.state === "off");
      await toggle.push.subscribe();
      await until(() => toggle.state === "on");
      toggle.disconnectedCallback();
      await toggle.push.unsubscribe();
      console.log(changes.join());`);
    assert.equal(stdout, "off,on\n", stderr);
  });

  test("it says so where none can be loaded, and tries again at the next click", () => {
    const { stdout, stderr } = run(`
      const [name, hidden] = [place("webpush-kit.js"), place("hidden.js")];
      renameSync(name, hidden);
      toggle.connectedCallback();
      await until(() => toggle.state === "off");
      const status = toggle.querySelector("[role=status]");
      console.log(toggle.getAttribute("error"), status.textContent);
      renameSync(hidden, name);
      toggle.querySelector("button").dispatchEvent(new Event("click"));
      await until(() => toggle.state === "off" && toggle.push);
      console.log(toggle.getAttribute("error"), status.textContent);`);
    const expected = "network_error The server cannot be reached. Check your connection.\nnull Off\n";
    assert.equal(stdout, expected, stderr);
  });
});

describe("type declarations", () => {
  const modules = readdirSync(STATIC).filter((name) => /^webpush-kit(-elements|-mock)?\.js$/.test(name));
  const source = (name) => readFileSync(new URL(name, STATIC), "utf8");
  const matches = (text, pattern) => [...text.matchAll(pattern)].map((match) => match[1]).sort();

  test("exist for every module", () => assert.equal(modules.length, 3));

  for (const name of modules) {
    test(`of ${name} name what it exports`, async () => {
      const declared = matches(source(name.replace(".js", ".d.ts")), /^export (?:class|function|const) (\w+)/gm);
      assert.deepEqual(declared, Object.keys(await load(name)).sort());
    });

    test(`of ${name} name the public methods of its classes`, async () => {
      const declarations = source(name.replace(".js", ".d.ts"));
      for (const [exported, value] of Object.entries(await load(name))) {
        const body = new RegExp(`^export class ${exported}\\b[^{]*\\{(.*?)^\\}`, "ms").exec(declarations)?.[1];
        if (!body) continue;
        const statics = Object.getOwnPropertyNames(value).filter((one) => typeof value[one] === "function");
        const own = Object.getOwnPropertyNames(value.prototype);
        const inherited = Object.getPrototypeOf(value.prototype);
        const methods = [...own.filter((one) => !(one in inherited)), ...statics].sort();
        const declared = matches(body, /^ {4}(?:static )?(?:get |set )?(\w+)(?:<[^>]*>)?[(:]/gm);
        const missing = methods.filter((method) => !declared.includes(method));
        assert.deepEqual(missing, [], `${exported} of ${name}`);
      }
    });
  }
});
