"""The npm package: what is in it, and a project that installs it, imports each entry and checks its own types."""

import json
import re
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


def test_it_has_the_version_of_the_python_package_and_nothing_that_is_not_needed(project):
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


def test_a_typescript_project_with_react_passes_and_its_mistakes_are_found(project):
    (project / "app.tsx").write_text(APP)
    compiler = TOOLS / "node_modules" / "typescript" / "bin" / "tsc"
    options = "--noEmit --strict --skipDefaultLibCheck --target es2022 --module esnext --moduleResolution bundler"
    finished = subprocess.run(
        ["node", compiler, *options.split(), "--jsx", "react-jsx", "--types", "react", "app.tsx"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout


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
