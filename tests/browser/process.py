"""A browser's process, with a profile folder that goes when it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.browser.waiting import START_SECONDS, wait_until


class BrowserProcess:
    """Runs `command` with `HOME` in a fresh profile folder; its output goes to `profile/output.txt`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.profile = Path(tempfile.mkdtemp(prefix=f"webpush-kit-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], *, port_file: Path, environment: dict[str, str] | None = None) -> str:
        """Start, wait until the browser has written `port_file`, and return what it says."""
        port_file.unlink(missing_ok=True)
        with (self.profile / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "HOME": str(self.profile), **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return wait_until(lambda: self._read(port_file), f"{self.name} to start", START_SECONDS)

    def end(self) -> None:
        """Wait for the process, which has been asked to quit, and kill it if it will not."""
        if self._process is not None:
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def remove_profile(self) -> None:
        """Delete the profile folder."""
        shutil.rmtree(self.profile, ignore_errors=True)

    def _read(self, port_file: Path) -> str:
        if self._process is not None and self._process.poll() is not None:
            output = (self.profile / "output.txt").read_text(errors="replace")
            raise RuntimeError(f"{self.name} exited with {self._process.returncode}:\n{output[-2000:]}")
        return port_file.read_text().strip() if port_file.exists() else ""
