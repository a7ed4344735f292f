"""Types, generated declarations, lint and sizes of the browser side, with the npm packages of `js/package.json`.

Run `npm install --prefix js` first, or `tox run -e js`, which does.
"""

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "js"
STATIC = ROOT / "src" / "django_webpush_kit" / "static" / "django_webpush_kit"
IS_REQUIRED = os.environ.get("TEST_JAVASCRIPT") == "required"

pytestmark = pytest.mark.skipif(
    not IS_REQUIRED and not (TOOLS / "node_modules").is_dir(), reason="npm install --prefix js has not been run"
)


def npm(*arguments):
    return subprocess.run(["npm", *arguments], cwd=TOOLS, capture_output=True, text=True, timeout=300, check=False)


def test_types_are_right_and_the_declarations_are_those_of_the_modules():
    finished = npm("run", "--silent", "types:check")
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_a_stale_declaration_is_noticed(tmp_path):
    tools = tmp_path / "js"
    tools.mkdir()
    shutil.copy(TOOLS / "declarations.mjs", tools)
    shutil.copytree(TOOLS / "npm", tools / "npm")
    (tools / "node_modules").symlink_to(TOOLS / "node_modules")
    static = shutil.copytree(STATIC, tmp_path / STATIC.relative_to(ROOT))
    declaration = static / "webpush-kit.d.ts"
    declaration.write_text(declaration.read_text().replace("subscribe(", "subscribeOnce("))
    finished = subprocess.run(
        ["node", "declarations.mjs", "--check"], cwd=tools, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("webpush-kit.d.ts is not what the JSDoc")


def test_the_linter_finds_nothing():
    finished = npm("run", "--silent", "lint")
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("names", "kilobytes"),
    [
        (["webpush-kit.js"], 6),
        (["webpush-kit.js", "webpush-kit-elements.js"], 14),
        (["service-worker.js"], 6),
    ],
    ids=["the module", "with the elements", "the service worker"],
)
def test_sizes_minified_and_gzipped(names, kilobytes):
    sizes = [len(gzip.compress(minified(name), 9)) for name in names]
    assert sum(sizes) <= kilobytes * 1024, sizes


def minified(name):
    esbuild = TOOLS / "node_modules" / ".bin" / "esbuild"
    return subprocess.run([esbuild, "--minify", STATIC / name], capture_output=True, timeout=60, check=True).stdout
