// An HTTP/2 server on loopback that misbehaves on request. Prints its port; ends when its standard input does.
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const pem = readFileSync(process.argv[2]);
const server = http2.createSecureServer({ key: pem, cert: pem, settings: { maxConcurrentStreams: 100 } });
let sessions = 0;
let open = 0;
let most = 0;
let refusals = 0;
const received = {}; // how often each path was read to its end

// Small TLS records: what one read of the client's brings is many of them.
server.on("secureConnection", (socket) => socket.setMaxSendFragment(512));

server.on("session", (session) => {
  sessions += 1;
  session.on("error", () => {});
});

function answer(stream, status, body = "") {
  if (!stream.destroyed) {
    stream.respond({ ":status": Number(status) });
    stream.end(body);
  }
}

const faults = {
  status: (stream, argument) => answer(stream, argument),
  slow: (stream, argument) => setTimeout(() => answer(stream, 201), Number(argument)),
  silent: () => {},
  reset: (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
  refuseOnce: (stream) =>
    refusals++ === 0 ? stream.close(http2.constants.NGHTTP2_REFUSED_STREAM) : answer(stream, 201),
  goaway: (stream) => {
    answer(stream, 201);
    stream.session.close();
  },
  die: (stream) => stream.session.destroy(),
  refuse: (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM),
  half: (stream) => {
    stream.respond({ ":status": 201 });
    stream.write("half");
    setTimeout(() => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR), 50);
  },
  huge: (stream) => {
    stream.respond({ ":status": 500 });
    const piece = Buffer.alloc(65536);
    const pour = () => {
      while (!stream.destroyed && stream.write(piece));
    };
    stream.on("drain", pour);
    pour();
  },
  counts: (stream) => answer(stream, 400, JSON.stringify({ sessions, most, received })),
};

server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  open += 1;
  most = Math.max(most, open);
  stream.on("close", () => (open -= 1));
  const [, name, argument] = headers[":path"].split("/");
  stream.resume();
  stream.on("end", () => {
    received[headers[":path"]] = (received[headers[":path"]] ?? 0) + 1;
    faults[name](stream, argument);
  });
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
