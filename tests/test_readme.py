"""The README is run: its code in its order, in a project that `startproject` makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from django_webpush_kit.protocol.vapid import VapidKey
from django_webpush_kit.testing import FakeBrowser, FakePushService

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# what a project that already has pages and users has; and the browser of this test gets its messages on loopback
HOST_SETTINGS = 'TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]\n'
LOOPBACK = 'WEBPUSH_KIT["ALLOW_PRIVATE_ENDPOINTS"] = True\n'

SUBSCRIBE = """
import json
from django.contrib.auth import get_user_model
from django.test import Client
client = Client(SERVER_NAME="localhost")
client.force_login(get_user_model().objects.create_superuser("admin"))
page = client.get("/").content.decode()
assert '<meta name="webpush-kit-key" content="{key}">' in page, page
assert '<webpush-toggle label="Notifications">' in page, page
answer = client.post("/api/v1/push/subscribe", {body!r}, content_type="application/json")
assert answer.status_code == 201, answer.content
"""


class HostProject:
    """A project in a folder of its own, to which the README is done block by block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("-m", "django", "startproject", "mysite", ".")
        self.append("settings.py", HOST_SETTINGS)
        self._imports = ""

    def run(self, *arguments: str) -> str:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONWARNINGS": "error"}
        run = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{arguments}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def append(self, name: str, text: str) -> None:
        with (self.folder / "mysite" / name).open("a") as file:
            file.write(text)

    def shell(self, code: str) -> str:
        """Run code in `manage.py shell`, which remembers what earlier code has imported and named."""
        output = self.run("manage.py", "shell", "-v0", "-c", self._imports + code)
        self._imports += "".join(re.findall(r"^(?:from .*|user = .*)\n", code, re.MULTILINE))
        return output

    def do(self, language: str, text: str) -> None:
        head, _, body = text.partition("\n")
        match language, head.strip("<!-#> "):
            case "python", "settings.py" | "urls.py" as name:
                self.append(name, body)
            case "python", "shell":
                self.shell(body)
            case "python", name:
                (self.folder / name).write_text(body)
                self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", name)
            case "html", name:
                (self.folder / name).parent.mkdir()
                (self.folder / name).write_text(body)
            case "sh", _:
                for line in text.splitlines():
                    if line.startswith("python "):
                        self.run(*line.split()[1:])


@pytest.mark.slow
def test_the_code_does_what_the_text_says(tmp_path):
    pytest.importorskip("django_q")
    blocks = BLOCK.findall(README)
    first_message = next(number for number, (_, text) in enumerate(blocks) if text.startswith("# shell"))
    host = HostProject(tmp_path)
    for language, text in blocks[:first_message]:
        host.do(language, text)
    host.append("settings.py", LOOPBACK)
    key = VapidKey.load(str(tmp_path / "vapid.pem")).public_key
    with FakePushService() as service:
        browser = FakeBrowser(service, key)
        host.shell(SUBSCRIBE.format(key=key, body=json.dumps({"subscription": browser.subscribe()})))
        host.do(*blocks[first_message])
        shown = browser.wait_for()[0]["notification"]
        assert (shown["title"], shown["body"], shown["navigate"]) == ("It works! 🎉", "Hello from Django.", "/")
        for language, text in blocks[first_message + 1 :]:
            host.do(language, text)
        assert len(browser.received) == 1
    find_reminder = """
from django_webpush_kit.models import get_notification_model
print(*get_notification_model().objects.filter(type="booking_reminder").values_list("title", "status"))
"""
    assert "Reminder: Pottery at" in host.shell(find_reminder)
    assert re.search(r"`(cancel\(.*?\))`", README)[1] == 'cancel(idempotency_key="reminder-4711")'
    assert host.shell('print(cancel(idempotency_key="reminder-4711"))').strip() == "1"
    assert "cancelled" in host.shell(find_reminder)


@pytest.mark.parametrize("page", ["README.md", "example_project/README.md"])
def test_what_is_linked_exists(page):
    links = re.findall(r'\]\(([^)#:]+)\)|src="([^"]+)"', (ROOT / page).read_text())
    assert links
    for link in filter(None, (target for pair in links for target in pair)):
        assert (ROOT / page).parent.joinpath(link).exists(), link


def test_the_extras_and_targets_it_names_exist():
    packaging, makefile = (ROOT / "pyproject.toml").read_text(), (ROOT / "Makefile").read_text()
    extras = {extra for names in re.findall(r"webpush-kit\[([\w,]+)\]", README) for extra in names.split(",")}
    assert extras
    for extra in extras:
        assert re.search(rf"^{extra} = \[", packaging, re.MULTILINE), extra
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets == ["demo", "serve", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
