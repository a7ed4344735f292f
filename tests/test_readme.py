"""The README is run: its code in its order, in a project that `startproject` makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from django_webpush_kit.protocol.vapid import VapidKey
from django_webpush_kit.testing import FakeBrowser, FakePushService
from tests.host_project import BLOCK, HostProject

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()

# the browser of this test gets its messages on loopback
LOOPBACK = 'WEBPUSH_KIT["ALLOW_PRIVATE_ENDPOINTS"] = True\n'

SUBSCRIBE = """
import json
from django.contrib.auth import get_user_model
from django.test import Client
client = Client(SERVER_NAME="localhost")
client.force_login(get_user_model().objects.get(username="admin"))
page = client.get("/").content.decode()
assert '<meta name="webpush-kit-key" content="{key}">' in page, page
assert '<webpush-toggle label="Notifications">' in page, page
answer = client.post("/api/v1/push/subscribe", {body!r}, content_type="application/json")
assert answer.status_code == 201, answer.content
"""


def quick_start(folder):
    """Follow the README up to its first message. Returns its code blocks, the number of that message, the project."""
    blocks = BLOCK.findall(README)
    first_message = next(number for number, (_, text) in enumerate(blocks) if text.startswith("# shell"))
    host = HostProject(folder)
    for language, text in blocks[:first_message]:
        host.do(language, text)
    host.append("settings.py", LOOPBACK)
    return blocks, first_message, host


@pytest.mark.slow
def test_the_code_has_the_described_results(tmp_path):
    pytest.importorskip("django_q")
    blocks, first_message, host = quick_start(tmp_path)
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
def test_links_lead_to_existing_pages(page):
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    pages = re.findall(r"\(https://django-webpush-kit\.readthedocs\.io/en/latest/([^)#]+)\.html[)#]", text)
    images = re.findall(r"_images/([^\"]+)", text)
    assert links or pages
    for link in links:
        assert (ROOT / page).parent.joinpath(link).exists(), link
    for name in pages:
        assert (ROOT / f"docs/{name}.md").exists(), name
    for name in images:
        assert f"](images/{name})" in (ROOT / "docs/index.md").read_text(), name


def test_named_extras_and_targets_exist():
    packaging, makefile = (ROOT / "pyproject.toml").read_text(), (ROOT / "Makefile").read_text()
    extras = {extra for names in re.findall(r"checkout\[([\w,]+)\]", README) for extra in names.split(",")}
    assert extras
    for extra in extras:
        assert re.search(rf"^{extra} = \[", packaging, re.MULTILINE), extra
    targets = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert targets == ["demo", "serve", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
