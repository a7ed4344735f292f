"""The single-page apps of the how-to pages: installed with the packed npm package, built, and served by their tools."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from example_project.backstage.running import free_port
from tests.browser.documented import APPS
from tests.browser.waiting import START_SECONDS, wait_until

JS = Path(__file__).resolve().parents[2] / "js"

INSTALL_SECONDS = 480
BUILD_SECONDS = 480


def require_npm() -> None:
    """Skip where npm is missing, which it must not be in CI."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is not installed")
        pytest.skip("npm is not installed")


def pack(folder: Path) -> Path:
    """Make the npm package, and return the path of its archive in `folder`."""
    run(["node", "pack.mjs", str(folder / "package")], JS)
    run(["npm", "pack", "./package", "--silent"], folder)
    (archive,) = folder.glob("*.tgz")
    return archive


def run(command: list[str], folder: Path, timeout: float = 120, **environment: str) -> str:
    """Run a command to its end, and return what it wrote; what it wrote is also in the error when it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} in {folder}:\n{done.stdout[-6000:]}")
    return done.stdout


def _environment(changes: dict[str, str]) -> dict[str, str]:
    quiet = {"NEXT_TELEMETRY_DISABLED": "1", "NO_COLOR": "1", "NO_UPDATE_NOTIFIER": "1"}
    kept = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "NODE_ENV", "PORT"}}
    return {**kept, **quiet, **changes}


@dataclass(frozen=True)
class App:
    """One of the apps, in a folder of its own."""

    name: str
    folder: Path

    @classmethod
    def install(cls, name: str, folder: Path, archive: Path) -> App:
        """Copy the sources into a new folder, and install what they need and our package."""
        shutil.copytree(APPS / name, folder)
        app = cls(name, folder)
        app.add(str(archive))
        return app

    def add(self, *packages: str) -> None:
        """Install packages, and what `package.json` has."""
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
        run(["npm", "install", *options, *packages], self.folder, INSTALL_SECONDS)

    def copy(self, folder: Path) -> App:
        """Return a copy with the same installed packages, for another build."""
        shutil.copytree(self.folder, folder, copy_function=_link, symlinks=True)
        return App(self.name, folder)

    def overlay(self, name: str) -> None:
        """Add the files of another folder of sources, in place of those with the same names."""
        shutil.copytree(APPS / name, self.folder, dirs_exist_ok=True)

    def change(self, path: str, *replacements: tuple[str, str]) -> None:
        """Replace pieces of a file. Each must occur exactly once."""
        file = self.folder / path
        text = file.read_text()
        for old, new in replacements:
            if text.count(old) != 1:
                raise ValueError(f"{path} has {old!r} {text.count(old)} times")
            text = text.replace(old, new)
        self.write(path, text)

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        (self.folder / path).write_text(text)

    def build(self, **environment: str) -> str:
        """Run `npm run build` with this environment, and return what it wrote."""
        return run(["npm", "run", "build"], self.folder, BUILD_SECONDS, **environment)

    @contextmanager
    def serve(self, script: str, port: int, *arguments: str, **environment: str) -> Iterator[str]:
        """Serve it within the block by `npm run <script>`; gives its origin."""
        host = {"vite": "--host", "next": "--hostname"}[self.name]
        command = ["npm", "run", script, "--", "--port", str(port), host, "127.0.0.1", *arguments]
        with (self.folder / f"{script}.log").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self._answers(process, script, port), f"npm run {script}", START_SECONDS)
            yield f"http://localhost:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):  # all that npm has started
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self, process: subprocess.Popen[bytes], script: str, port: int) -> bool:
        if process.poll() is not None:
            output = (self.folder / f"{script}.log").read_text(errors="replace")
            raise RuntimeError(f"npm run {script} ended with {process.returncode}:\n{output[-4000:]}")
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/", timeout=30):
                return True
        except HTTPError:
            return True
        except (URLError, OSError):
            return False


def _link(source: str, target: str) -> None:
    """Share the installed packages, and copy what a test may change."""
    if "/node_modules/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


@dataclass(frozen=True)
class Deployment:
    """A served build: where its pages are, and where its Django has to be."""

    origin: str
    django_port: int
    is_proxied: bool
    api_base: str = ""
    """The path below which a proxy has the API."""

    @property
    def api_origin(self) -> str:
        """Where a page finds the API."""
        return self.origin if self.is_proxied else f"http://127.0.0.1:{self.django_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its Django."""
        return {
            "DJANGO_SETTINGS_MODULE": "tests.browser.apps_settings",
            "APP_ORIGIN": self.origin,
            "APP_API_ORIGIN": self.api_origin,
            "APP_API_BASE": self.api_base,
        }


@contextmanager
def deployed(
    app: App, serve: str, prefix: str, *, is_proxied: bool, api_base: str = "", **environment: str
) -> Iterator[Deployment]:
    """Build the app and serve it with its own tools: behind their proxy, or with the API on another origin.

    `prefix` is that of the variables that its pages see: VITE_ or NEXT_PUBLIC_. `api_base` is where their proxy has the
    API, if that is below a path.
    """
    port, django_port = free_port(), free_port()
    django = f"http://127.0.0.1:{django_port}"
    where = {"DJANGO_URL": django} if is_proxied else {f"{prefix}API_URL": django}
    app.build(**where, **environment)
    with app.serve(serve, port, **where, **environment) as origin:
        yield Deployment(origin, django_port, is_proxied, api_base)
