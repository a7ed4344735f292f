// One call of npm's http_ece or web-push: reads a JSON request on stdin, prints the JSON answer. Bytes are base64url.
"use strict";

const crypto = require("crypto");
const ece = require("http_ece");
const webPush = require("web-push");

const bytes = (text) => Buffer.from(text, "base64url");
const text = (buffer) => buffer.toString("base64url");

function pair(privateKey) {
    const ecdh = crypto.createECDH("prime256v1");
    if (privateKey) {
        ecdh.setPrivateKey(bytes(privateKey));
    } else {
        ecdh.generateKeys();
    }
    return ecdh;
}

const calls = {
    decrypt: ({body, privateKey, auth}) => ({
        payload: text(ece.decrypt(bytes(body), {version: "aes128gcm", privateKey: pair(privateKey), authSecret: bytes(auth)})),
    }),
    encrypt: ({payload, p256dh, auth}) => ({
        body: text(ece.encrypt(bytes(payload), {version: "aes128gcm", privateKey: pair(), dh: p256dh, authSecret: auth})),
    }),
    request: ({subscription, payload, options}) => {
        const keys = webPush.generateVAPIDKeys();
        const vapidDetails = {subject: "mailto:tests@example.com", ...keys, ...options.vapidDetails};
        const {endpoint, headers, body} = webPush.generateRequestDetails(subscription, payload, {...options, vapidDetails});
        return {endpoint, headers, body: text(body)};
    },
    keys: () => webPush.generateVAPIDKeys(),
};

let input = "";
process.stdin.on("data", (chunk) => { input += chunk; });
process.stdin.on("end", () => {
    const {call, ...request} = JSON.parse(input);
    console.log(JSON.stringify(calls[call](request)));
});
