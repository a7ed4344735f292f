/**
 * Feeds payloads to the shipped service worker and prints what the user would have seen.
 *
 *   node run_service_worker.mjs [--engine=chromium|firefox|webkit] [--restart-every=N] [--dismiss] < payloads.jsonl
 *
 * One JSON payload a line, in order. `--restart-every=N` kills the worker after every N pushes, `--dismiss` takes each
 * notification off the screen before the next push comes: the hardest case for repeats. The output is one JSON object:
 * `shown`, each call of showNotification() (`{id, title}`); `alerts`, those the user noticed (`{id, title}`); `reports`,
 * the events the server was sent (`{token, action, ...}`). An id that is twice in `alerts` was shown twice.
 */
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { FakeBrowser } from "./fake_browser.mjs";

const { values } = parseArgs({
  options: {
    engine: { type: "string", default: "chromium" },
    "restart-every": { type: "string", default: "0" },
    dismiss: { type: "boolean", default: false },
  },
});
const restartEvery = Number(values["restart-every"]);
const browser = new FakeBrowser({ engine: values.engine });

let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  await browser.push(line);
  count += 1;
  if (values.dismiss) for (const notification of browser.notifications) await browser.dismiss(notification);
  if (restartEvery && count % restartEvery === 0) browser.startWorker();
}

const { alerts, reports } = browser;
const shown = browser.shown.map(({ id, title }) => ({ id, title }));
process.stdout.write(`${JSON.stringify({ shown, alerts, reports })}\n`);
