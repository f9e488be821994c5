// The npm package `solc` behind the command line of the native compiler, as far as py-solc-x, slither and forge use it:
//   solc --version
//   solc --standard-json [--base-path DIR] [--allow-paths …] < input.json
// Loading the compiler takes longer than compiling a few files. `solc --serve SOCKET` loads it once and answers on a
// socket; calls with that socket in SOLC_SERVER ask there.
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");

const root = path.dirname(path.dirname(__dirname));

function option(args, name, fallback) {
  const inline = args.find((arg) => arg.startsWith(`${name}=`));
  if (inline !== undefined) return inline.slice(name.length + 1);
  const index = args.indexOf(name);
  return index >= 0 && index + 1 < args.length ? args[index + 1] : fallback;
}

/** Reads an import from below the base path, or from below this repository, and from nowhere else. */
function readImport(bases) {
  return (name) => {
    for (const base of bases) {
      const file = path.resolve(base, name);
      if (!file.startsWith(base + path.sep)) continue;
      try {
        return { contents: fs.readFileSync(file, "utf8") };
      } catch (error) {
        if (error.code !== "ENOENT") return { error: `${name}: ${error.message}` };
      }
    }
    return { error: `${name}: not found below ${bases.join(" or ")}` };
  };
}

/** What the compiler prints when it is called with `args` from the folder `cwd`. */
function answer({ args, cwd, input }) {
  const solc = require("solc");
  if (args.includes("--version")) {
    return `solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`;
  }
  const base = path.resolve(cwd, option(args, "--base-path", cwd));
  return solc.compile(input, { import: readImport([...new Set([base, root])]) });
}

function serve(socket) {
  net
    .createServer({ allowHalfOpen: true }, (client) => {
      const parts = [];
      client.on("data", (part) => parts.push(part));
      client.on("error", () => {}); // whoever asked was stopped
      client.on("end", () => client.end(answer(JSON.parse(Buffer.concat(parts).toString()))));
    })
    .listen(socket);
}

function ask(socket, call) {
  const server = net.connect(socket, () => server.end(JSON.stringify(call)));
  server.pipe(process.stdout);
  server.on("error", ({ code }) => {
    process.stderr.write(`no compiler answers on ${socket} (${code})\n`);
    process.exitCode = 1;
  });
}

const args = process.argv.slice(2);
const compiles = args.includes("--standard-json");
if (args[0] === "--serve" && args.length === 2) {
  serve(args[1]);
} else if (compiles || args.includes("--version")) {
  const call = { args, cwd: process.cwd(), input: compiles ? fs.readFileSync(0, "utf8") : "" };
  if (process.env.SOLC_SERVER) ask(process.env.SOLC_SERVER, call);
  else process.stdout.write(answer(call));
} else {
  process.stderr.write("scripts/solc answers --version, --standard-json and --serve SOCKET only.\n");
  process.exitCode = 2;
}
