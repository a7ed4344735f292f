/**
 * Makes the npm package in `dist/`: the same files that Django serves, a React hook, and a package.json with the version
 * of pyproject.toml. `npm pack ./dist` makes the archive of it.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const DIST = at("dist/");
const STATIC = at("../src/django_webpush_kit/static/django_webpush_kit/");

const project = readFileSync(at("../pyproject.toml"), "utf8");
const [, version] = /^version = "(.+)"$/m.exec(project);

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST);
for (const name of readdirSync(STATIC)) if (/\.(js|d\.ts)$/.test(name)) cpSync(STATIC + name, DIST + name);
for (const name of readdirSync(at("npm/"))) cpSync(at(`npm/${name}`), DIST + name);
cpSync(at("../LICENSE"), `${DIST}LICENSE`);
declareReact();
writeFileSync(`${DIST}package.json`, `${JSON.stringify(manifest(), null, 2)}\n`);

function manifest() {
  const entry = (name) => ({ types: `./${name}.d.ts`, default: `./${name}.js` });
  return {
    name: "django-webpush-kit",
    version,
    description: "The browser side of django-webpush-kit: subscribe to web push, show notifications, count clicks.",
    license: "MIT",
    homepage: "https://django-webpush-kit.readthedocs.io/",
    keywords: ["web push", "notifications", "service worker", "django"],
    type: "module",
    main: "./webpush-kit.js",
    types: "./webpush-kit.d.ts",
    exports: {
      ".": entry("webpush-kit"),
      "./elements": entry("webpush-kit-elements"),
      "./mock": entry("webpush-kit-mock"),
      "./react": entry("react"),
      "./service-worker.js": "./service-worker.js",
      "./package.json": "./package.json",
    },
    sideEffects: ["./webpush-kit-elements.js", "./service-worker.js"],
    peerDependencies: { react: ">=18" },
    peerDependenciesMeta: { react: { optional: true } },
  };
}

/** Checks the hook's types and generates its declaration. */
function declareReact() {
  const options = "--allowJs --checkJs --strict --declaration --emitDeclarationOnly --target es2022 --module esnext";
  const rest = ["--moduleResolution", "bundler", "--types", "react", "--outDir", DIST];
  const compiler = at("node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [compiler, ...options.split(" "), ...rest, "react.js"], {
    cwd: DIST,
    stdio: "inherit",
  });
}
