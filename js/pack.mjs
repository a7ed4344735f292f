/**
 * Makes the npm package in `dist/`: the same files that Django serves, a React hook, and a package.json with the version
 * of pyproject.toml. `npm pack ./dist` makes the archive of it. It needs nothing but Node.
 *
 *   node pack.mjs [folder]
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const DIST = `${resolve(process.argv[2] ?? at("dist"))}/`;
const STATIC = at("../src/django_webpush_kit/static/django_webpush_kit/");

const project = readFileSync(at("../pyproject.toml"), "utf8");
const [, version] = /^version = "(.+)"$/m.exec(project);

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST, { recursive: true });
for (const name of readdirSync(STATIC)) if (/\.(js|d\.ts)$/.test(name)) cpSync(STATIC + name, DIST + name);
for (const name of readdirSync(at("npm/"))) cpSync(at(`npm/${name}`), DIST + name);
cpSync(at("../LICENSE"), `${DIST}LICENSE`);
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
    // the types of the elements extend those of React and Vue
    peerDependencies: { "@types/react": ">=18", react: ">=18", vue: ">=3.3" },
    peerDependenciesMeta: Object.fromEntries(
      ["@types/react", "react", "vue"].map((name) => [name, { optional: true }]),
    ),
  };
}
