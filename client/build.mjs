// Builds the browser client into the gateway's static files and holds it to its size.
//   node build.mjs               hubbub.js and hubbub.d.ts, what ships in the wheel
//   node build.mjs --internals   build/internals.mjs, what the tests import
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT_BYTES = 10 * 1024;
const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../src/hubbub/gateway/static");
const common = { bundle: true, format: "esm", target: "es2022", charset: "utf8", absWorkingDir: here, logLevel: "warning" };

if (process.argv.includes("--internals")) {
  await build({
    ...common,
    stdin: {
      contents: ["patch", "errors", "session", "link", "transport"].map((m) => `export * from "./src/${m}.ts";`).join("\n"),
      resolveDir: here,
      loader: "ts",
    },
    outfile: "build/internals.mjs",
  });
} else {
  mkdirSync(target, { recursive: true });
  const file = join(target, "hubbub.js");
  await build({
    ...common,
    entryPoints: ["src/index.ts"],
    outfile: file,
    minify: true,
    banner: { js: "/*! Hubbub browser client, Apache-2.0 */" },
    legalComments: "none",
  });
  writeFileSync(join(target, "hubbub.d.ts"), declarations());
  const code = readFileSync(file);
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`hubbub.js: ${code.length} bytes, ${size} gzipped (limit ${LIMIT_BYTES})`);
  if (size >= LIMIT_BYTES) {
    console.error("too big");
    process.exit(1);
  }
}

/** Return the public declarations as one file: those of the modules that hold public names, without their imports. */
function declarations() {
  const out = join(here, "build/types");
  rmSync(out, { recursive: true, force: true });
  execFileSync(
    join(here, "node_modules/.bin/tsc"),
    ["-p", "tsconfig.json", "--declaration", "--emitDeclarationOnly", "--outDir", out],
    { cwd: here, stdio: "inherit" },
  );
  const parts = ["errors", "patch", "api", "index"].map((module) =>
    readFileSync(join(out, `${module}.d.ts`), "utf8")
      .replace(/^import .*;\n/gm, "")
      .replace(/^export (type )?(\*|\{.*\}) from .*;\n/gm, "")
      .replace(/^\/\*\*[^\n]*\*\/\n(?=\n|\/\*\*|$)/, "")
      .trim(),
  );
  return `/** Types of Hubbub's browser client. Made by client/build.mjs. */\n\n${parts.join("\n\n")}\n`;
}
