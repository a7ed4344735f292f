// web-push for Node, with connections kept open and 100 in flight: node peer.mjs, with its work in the environment.

import { createRequire } from "node:module";
import https from "node:https";

const require = createRequire(process.env.BENCH_NODE_MODULES + "/");
const webpush = require("web-push");
const { port, messages, publicKey, privateKey, subscriptions, payload } = JSON.parse(process.env.BENCH_WORK);

const IN_FLIGHT = 100;
const agent = new https.Agent({ keepAlive: true, maxSockets: IN_FLIGHT });
const options = {
  TTL: 2419200,
  agent,
  contentEncoding: "aes128gcm",
  vapidDetails: { subject: "mailto:ops@example.com", publicKey, privateKey },
};

async function send(count) {
  let next = 0;
  let accepted = 0;
  async function work() {
    while (next < count) {
      const answer = await webpush.sendNotification(subscriptions[next++ % subscriptions.length], payload, options);
      accepted += answer.statusCode === 201;
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  return accepted;
}

await send(IN_FLIGHT);
const processor = process.cpuUsage();
const started = process.hrtime.bigint();
const accepted = await send(messages);
const used = process.cpuUsage(processor);
console.log(
  JSON.stringify({
    messages: accepted,
    seconds: Number(process.hrtime.bigint() - started) / 1e9,
    processor_seconds: (used.user + used.system) / 1e6,
    peak_megabytes: process.resourceUsage().maxRSS / 1024,
    floor_seconds: 0,
  }),
);
agent.destroy();
