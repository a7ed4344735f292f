/**
 * Checks the types of the browser modules and generates their declarations (`.d.ts`) from their JSDoc. The React hook is
 * one of them, in `npm/`.
 *
 *   node declarations.mjs            write them beside the modules
 *   node declarations.mjs --check    fail if those in place differ
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const STATIC = join(HERE, "../src/django_webpush_kit/static/django_webpush_kit");
const NPM = join(HERE, "npm");
const MODULES = ["webpush-kit", "webpush-kit-elements", "webpush-kit-mock"];
const DECLARED = { ...Object.fromEntries(MODULES.map((name) => [name, STATIC])), react: NPM };
const NOTE = "// Generated from the JSDoc of the module by js/declarations.mjs: change that, not this.\n";

// elsewhere: declarations in place would be read instead of the modules
const folder = mkdtempSync(join(tmpdir(), "declarations-"));
try {
  const texts = readdirSync(STATIC).filter((name) => name.startsWith("webpush-kit-texts-"));
  const inputs = [...texts, ...MODULES.map((name) => `${name}.js`), "service-worker.js", "webpush-kit-dom.d.ts"];
  for (const name of inputs) cpSync(join(STATIC, name), join(folder, name));
  for (const name of ["live.js", "lists.js"]) cpSync(join(STATIC, "admin", name), join(folder, name));
  cpSync(join(NPM, "react.js"), join(folder, "react.js"));
  const common = { allowJs: true, checkJs: true, strict: true, skipDefaultLibCheck: true, target: "es2022", types: [] };
  run("modules", {
    compilerOptions: {
      ...common,
      module: "esnext",
      moduleResolution: "bundler",
      lib: ["es2023", "dom", "dom.iterable"],
      declaration: true,
      emitDeclarationOnly: true,
      paths: { react: [join(HERE, "node_modules/@types/react")] },
    },
    files: Object.keys(DECLARED).map((name) => `${name}.js`),
  });
  const stale = Object.keys(DECLARED).filter((name) => !isFresh(`${name}.d.ts`, DECLARED[name]));
  for (const name of stale) console.error(`${name}.d.ts is not what the JSDoc of ${name}.js says: npm run types`);
  if (stale.length) {
    process.exitCode = 1;
  } else {
    run("worker", {
      compilerOptions: { ...common, lib: ["es2023", "webworker"], noEmit: true },
      files: ["service-worker.js"],
    });
    run("pages", {
      compilerOptions: { ...common, lib: ["es2023", "dom", "dom.iterable"], noEmit: true },
      files: ["live.js", "lists.js"],
    });
  }
} finally {
  rmSync(folder, { recursive: true });
}

function run(name, config) {
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(config));
  const compiler = join(HERE, "node_modules/typescript/bin/tsc");
  try {
    execFileSync(process.execPath, [compiler, "--project", `${name}.json`], { cwd: folder, encoding: "utf8" });
  } catch (error) {
    console.error(error.stdout);
    process.exit(1);
  }
}

/** Writes the declaration to where its module is, or compares it with what is in place. */
function isFresh(name, home) {
  const generated = NOTE + readFileSync(join(folder, name), "utf8");
  const place = join(home, name);
  if (process.argv.includes("--check")) return readFileSync(place, "utf8") === generated;
  writeFileSync(place, generated);
  return true;
}
