"""The npm package: what is in it, and a project that installs it, imports each entry and checks its own types."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from django_webpush_kit.templatetags.webpush_kit import TEXT_LANGUAGES
from tests.js.test_development_tools import ROOT, TOOLS, npm, pytestmark  # noqa: F401  # skips these tests, too

APP = """
import { createPush, PUSH_ERRORS, type PushState } from "django-webpush-kit";
import "django-webpush-kit/elements";
import { MockPushNotificationAPI } from "django-webpush-kit/mock";
import { useWebPush } from "django-webpush-kit/react";
import { createElement } from "react";

const push = createPush({ api: new MockPushNotificationAPI({ delay: 0, fail: (method) => (method ? "" : "denied") }) });
push.on("clicked", ({ url }) => console.log(url.length));
push.on("navigate", (navigation) => navigation.preventDefault());
const message: string = PUSH_ERRORS.denied;
document.querySelector("webpush-toggle")?.addEventListener("webpush-error", ({ detail }) => detail.error.code);

export function Bell() {
  const { state, busy, error, subscribe } = useWebPush(push);
  const known: PushState | null = state;
  return (
    <label title={message}>
      <webpush-toggle push={push} preferences={{ categories: { news: true } }} label="News" />
      {busy ? "…" : (error?.message ?? known)}
      {createElement("button", { onClick: () => subscribe() })}
    </label>
  );
}

// @ts-expect-error: no such event
push.on("changed", () => undefined);
// @ts-expect-error: no such option
createPush({ baseURL: "/push/" });
"""


VUE_APP = """
<script setup lang="ts">
import { createPush } from "django-webpush-kit";
import "django-webpush-kit/elements";

const push = createPush({ baseUrl: "/push/" });
</script>

<template>
  <webpush-toggle label="News" :push="push" />
  <webpush-preferences theme="dark" />
  <webpush-prompt %s />
</template>
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project beside the tools, with the package as npm would install it."""
    folder = tmp_path_factory.mktemp("project")
    made = subprocess.run(["node", "pack.mjs"], cwd=TOOLS, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    packed = npm("pack", "./dist", "--json", "--pack-destination", str(folder))
    assert packed.returncode == 0, packed.stderr
    modules = folder / "node_modules"
    (modules / "@types").mkdir(parents=True)
    for name in ("react", "csstype", "@types/react"):
        (modules / name).symlink_to(TOOLS / "node_modules" / name)
    archive = next(folder.glob("*.tgz"))
    subprocess.run(["tar", "-xzf", archive, "-C", modules], timeout=60, check=True)
    (modules / "package").rename(modules / "django-webpush-kit")
    return folder


def test_it_has_the_version_of_the_python_package_and_no_unneeded_files(project):
    package = project / "node_modules" / "django-webpush-kit"
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    manifest = json.loads((package / "package.json").read_text())
    assert manifest["version"] == version
    assert "dependencies" not in manifest
    assert {path.name for path in package.iterdir()} == {
        "LICENSE",
        "README.md",
        "package.json",
        "push-payload.d.ts",
        "react.d.ts",
        "react.js",
        "service-worker.js",
        "webpush-kit-dom.d.ts",
        "webpush-kit-elements.d.ts",
        "webpush-kit-elements.js",
        *(f"webpush-kit-texts-{language}.js" for language in TEXT_LANGUAGES),
        "webpush-kit-mock.d.ts",
        "webpush-kit-mock.js",
        "webpush-kit.d.ts",
        "webpush-kit.js",
    }


def test_each_module_is_the_one_that_django_serves(project):
    package = project / "node_modules" / "django-webpush-kit"
    for path in Path(ROOT / "src/django_webpush_kit/static/django_webpush_kit").glob("*.js"):
        assert (package / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("django-webpush-kit", "createPush"),
        ("django-webpush-kit/elements", "WebPushToggle"),
        ("django-webpush-kit/mock", "MockPushNotificationAPI"),
        ("django-webpush-kit/react", "useWebPush"),
    ],
)
def test_an_entry_can_be_imported_on_a_server(project, entry, name):
    script = f"console.log(typeof (await import('{entry}')).{name});"
    finished = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.stdout == "function\n", finished.stderr


def test_a_manager_can_be_made_on_a_server_where_nobody_is_signed_in(project):
    script = """
        import { createPush } from "django-webpush-kit";
        const push = createPush({ user: () => localStorage.getItem("user"), headers: () => ({ A: document.cookie }) });
        console.log(await push.state());
    """
    finished = node(project, "--input-type=module", "--eval", script)
    assert finished.stdout == "unsupported\n", finished.stderr


def compile_app(folder, *options, compiler="typescript/bin/tsc"):
    """Check the types of the program in a folder's `tsconfig.json`."""
    return node(folder, TOOLS / "node_modules" / compiler, "--noEmit", *options)


def node(folder, *arguments):
    return subprocess.run(["node", *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def write_tsconfig(folder, files, **options):
    strict = {"strict": True, "target": "es2022", "skipDefaultLibCheck": True, "exactOptionalPropertyTypes": True}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": {**strict, **options}, "files": files}))


@pytest.mark.parametrize("resolution", ["bundler", "node16", "nodenext"])
@pytest.mark.parametrize("types", ["@types/react", "types-react-18"])
def test_a_typescript_project_with_react_passes_and_its_mistakes_are_found(project, resolution, types):
    types_of_react = project / "node_modules" / "@types" / "react"
    types_of_react.unlink()
    types_of_react.symlink_to(TOOLS / "node_modules" / types)
    (project / "app.tsx").write_text(APP)
    (project / "package.json").write_text('{"type": "module"}')
    module = "esnext" if resolution == "bundler" else resolution
    write_tsconfig(project, ["app.tsx"], module=module, moduleResolution=resolution, jsx="react-jsx", types=["react"])
    finished = compile_app(project)
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize(
    ("attribute", "mistakes"), [(":delay='20' install", 0), (":delay='[20]'", 1)], ids=["right", "with a mistake"]
)
def test_a_vue_project_without_react(project, tmp_path, attribute, mistakes):
    modules = tmp_path / "node_modules"
    modules.mkdir()
    shutil.copytree(project / "node_modules" / "django-webpush-kit", modules / "django-webpush-kit")
    (modules / "vue").symlink_to(TOOLS / "node_modules" / "vue")
    (tmp_path / "App.vue").write_text(VUE_APP % attribute)
    write_tsconfig(tmp_path, ["App.vue"], module="esnext", moduleResolution="bundler", types=[])
    finished = compile_app(tmp_path, compiler="vue-tsc/bin/vue-tsc.js")
    assert finished.stdout.count("error TS") == mistakes, finished.stdout


def test_a_project_without_a_framework(project, tmp_path):
    modules = tmp_path / "node_modules"
    modules.mkdir()
    shutil.copytree(project / "node_modules" / "django-webpush-kit", modules / "django-webpush-kit")
    (tmp_path / "app.ts").write_text(
        'import "django-webpush-kit/elements"; document.querySelector("webpush-prompt")?.show();'
    )
    write_tsconfig(tmp_path, ["app.ts"], module="esnext", moduleResolution="bundler", types=[])
    finished = compile_app(tmp_path)
    assert finished.returncode == 0, finished.stdout


def test_publint_finds_nothing(project):
    finished = npm("exec", "--", "publint", str(project / "node_modules" / "django-webpush-kit"), "--strict")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "All good!" in finished.stdout


def test_the_types_are_right_for_every_way_of_resolution_of_modules(project):
    """An ES module cannot be required; and the worker has no types, for no page imports it."""
    archive = next(project.glob("*.tgz"))
    finished = npm(
        "exec", "--", "attw", str(archive), "--profile", "esm-only", "--exclude-entrypoints", "service-worker.js"
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "django-webpush-kit/react" in finished.stdout


def test_a_bundler_leaves_out_what_is_not_used(project):
    (project / "entry.js").write_text('import { isSupported } from "django-webpush-kit"; console.log(isSupported());')
    esbuild = TOOLS / "node_modules" / ".bin" / "esbuild"
    bundled = subprocess.run(
        [esbuild, "entry.js", "--bundle", "--minify", "--format=esm"],
        cwd=project,
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
    assert len(bundled) < 2000, len(bundled)
