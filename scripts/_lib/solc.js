// The npm package `solc` behind the command line of the native compiler, as far as py-solc-x, slither and forge use it:
//   solc --version
//   solc --standard-json [--base-path DIR] [--allow-paths …] < input.json
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const root = path.dirname(path.dirname(__dirname));
const solc = require("solc");

const args = process.argv.slice(2);

function option(name, fallback) {
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

if (args.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (args.includes("--standard-json")) {
  const base = path.resolve(option("--base-path", process.cwd()));
  const input = fs.readFileSync(0, "utf8");
  process.stdout.write(solc.compile(input, { import: readImport([...new Set([base, root])]) }));
} else {
  process.stderr.write("scripts/solc answers --version and --standard-json only.\n");
  process.exitCode = 2;
}
