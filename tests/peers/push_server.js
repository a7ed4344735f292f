// web-push-testing's push service on 127.0.0.1 (its own start listens on every interface); prints its port.
"use strict";

const http = require("http");
const {PushApiModel} = require("web-push-testing/src/PushApiModel.js");
const TestingServer = require("web-push-testing/src/server.js");

const model = new PushApiModel();
const service = new TestingServer(model, 0);
service.setRequestHandlers();
const server = http.createServer(service._app);
server.listen(0, "127.0.0.1", () => {
    const {port} = server.address();
    model.notifyUrl = `http://127.0.0.1:${port}/notify/`;
    console.log(port);
});
process.stdin.resume().on("end", () => process.exit(0)); // ends with the test
