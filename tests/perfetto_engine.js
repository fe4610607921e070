// Perfetto's trace processor under node: what a web worker's page would do, over stdin and stdout.
//
//   node perfetto_engine.js DIRECTORY
//
// DIRECTORY holds `engine_bundle.js` and the `.wasm` files that belong to it. Both directions carry
// Perfetto's own TraceProcessorRpcStream, whose messages frame themselves, so bytes are passed on as they
// come. What the engine prints goes to stderr. When it aborts, so does this process.

"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const directory = process.argv[2];

function fail(error) {
  fs.writeSync(2, `${(error && error.stack) || error}\n`);
  process.exit(1);
}

process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

// A pipe may take a part only, or nothing at the moment.
function writeAll(bytes) {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += fs.writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

// The worker reads its module, and nothing else, through a synchronous request.
class XMLHttpRequest {
  open(method, name) {
    this.file = path.join(directory, path.basename(name));
  }

  send() {
    this.response = fs.readFileSync(this.file);
  }
}

const toStderr = (...words) => fs.writeSync(2, `${words.join(" ")}\n`);
const worker = { location: { href: "http://worker/engine_bundle.js" } };
const globals = {
  self: worker,
  WorkerGlobalScope: Object,
  process: undefined, // or it would find itself under node, which it is not built for
  console: { log: toStderr, info: toStderr, warn: toStderr, error: toStderr },
  XMLHttpRequest,
};

const bundle = path.join(directory, "engine_bundle.js");
const run = vm.compileFunction(fs.readFileSync(bundle, "utf8"), Object.keys(globals), { filename: bundle });
run(...Object.values(globals));

// The page hands the worker one end of a channel and talks through the other.
const port = { onmessage: null, postMessage: writeAll };
worker.onmessage({ data: port });
process.stdin.on("data", (bytes) => port.onmessage({ data: new Uint8Array(bytes) }));
