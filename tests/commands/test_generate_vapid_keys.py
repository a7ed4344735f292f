"""`manage.py generate_vapid_keys`."""

import json
import re
import shlex
import stat
import subprocess
from io import StringIO

import pytest
from django.core import checks
from django.core.management import CommandError, call_command

from django_webpush_kit.checks import check_settings
from django_webpush_kit.conf import vapid_keyring
from django_webpush_kit.protocol.vapid import VapidKey


def run(*arguments):
    out = StringIO()
    call_command("generate_vapid_keys", *arguments, stdout=out)
    return out.getvalue()


def read_env(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def test_three_variables_are_printed_and_belong_together():
    variables = read_env(run())
    assert list(variables) == ["VAPID_PRIVATE_KEY", "VAPID_PUBLIC_KEY", "NEXT_PUBLIC_VAPID_KEY"]
    key = VapidKey.load(variables["VAPID_PRIVATE_KEY"])
    assert key.public_key == variables["VAPID_PUBLIC_KEY"] == variables["NEXT_PUBLIC_VAPID_KEY"]


def test_each_run_makes_another_pair():
    assert run() != run()


def test_json_holds_the_same_three_variables():
    variables = json.loads(run("--format", "json"))
    assert VapidKey.load(variables["VAPID_PRIVATE_KEY"]).public_key == variables["VAPID_PUBLIC_KEY"]
    assert variables["NEXT_PUBLIC_VAPID_KEY"] == variables["VAPID_PUBLIC_KEY"]


def test_a_pem_file_serves_as_the_setting(tmp_path, settings):
    path = tmp_path / "vapid.pem"
    printed = run("--format", "pem", "--output", str(path))
    [public_key] = re.findall(r"The public key is derived from it: (\S+)", printed)
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")
    settings.WEBPUSH_KIT = {"VAPID_PRIVATE_KEY": str(path)}
    assert vapid_keyring().current.public_key == public_key


@pytest.mark.parametrize("form", ["env", "json", "pem"])
def test_the_settings_that_are_printed_are_all_that_is_needed(tmp_path, settings, form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings.WEBPUSH_KIT = {}
    printed = run("--format", form, "--output", "keys")
    [block] = re.findall(r"^WEBPUSH_KIT = \{\n.*?^\}", printed, re.MULTILINE | re.DOTALL)
    given = {}
    exec(block, given)
    settings.WEBPUSH_KIT = given["WEBPUSH_KIT"]
    monkeypatch.chdir("/")
    assert vapid_keyring().current.public_key in printed
    assert [message.id for message in check_settings() if message.level >= checks.ERROR] == []
    assert "Nothing else needs to be copied." in printed


def test_a_file_that_the_settings_already_name_needs_no_settings(tmp_path, settings):
    settings.WEBPUSH_KIT = {"VAPID_PRIVATE_KEY": str(tmp_path / "vapid.pem")}
    printed = run("--format", "pem", "--output", str(tmp_path / "vapid.pem"))
    assert "WEBPUSH_KIT = {" not in printed
    assert 'WEBPUSH_KIT["VAPID_PRIVATE_KEY"] names this file already.' in printed


@pytest.mark.parametrize("form", ["env", "json", "pem"])
def test_a_private_key_file_is_not_printed_and_only_its_owner_can_read_it(tmp_path, form):
    path = tmp_path / "keys"
    printed = run("--format", form, "--output", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE" in path.read_text()
    assert VapidKey.load(path.read_text()).encoded_private_key() not in printed
    assert "PRIVATE KEY-----" not in printed
    assert str(path) in printed


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "keys"
    path.write_text("precious")
    with pytest.raises(CommandError, match="--force"):
        run("--output", str(path))
    assert path.read_text() == "precious"


def test_force_replaces_a_file_and_its_mode(tmp_path):
    path = tmp_path / "keys"
    path.write_text("old")
    path.chmod(0o644)
    run("--output", str(path), "--force")
    assert "VAPID_PRIVATE_KEY=" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_force_does_not_write_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / "keys").symlink_to(elsewhere)
    run("--output", str(tmp_path / "keys"), "--force")
    assert elsewhere.read_text() == "precious"


def test_a_path_that_cannot_be_written_is_reported(tmp_path):
    path = tmp_path / "no where" / "keys"
    with pytest.raises(CommandError, match="could not be written") as caught:
        run("--output", str(path))
    command = str(caught.value).partition("Create its folder: ")[2]
    subprocess.run(shlex.split(command), check=True)
    run("--output", str(path))
    assert path.exists()


@pytest.mark.django_db
class TestOnASiteWithSubscribers:
    """A new key in the place of a lost one ends all subscriptions."""

    TEXT = "1 browser has subscribed with another key. With a new key they receive nothing until they subscribe again."

    def test_the_place_of_the_key_is_not_taken_by_a_new_one(self, subscription, push_settings, tmp_path, capsys):
        path = tmp_path / "vapid.pem"
        push_settings(VAPID_PRIVATE_KEY=str(path))
        with pytest.raises(CommandError, match="add --abandon-subscriptions") as caught:
            run("--format", "pem", "--output", str(path))
        assert str(caught.value).startswith(f"{self.TEXT} If you have the old key file, restore it.")
        assert not path.exists()
        run("--format", "pem", "--output", str(path), "--abandon-subscriptions")
        assert path.exists()
        assert self.TEXT in capsys.readouterr().err

    def test_another_file_and_printing_come_with_a_warning(self, make_subscription, tmp_path, capsys):
        for _ in range(2):
            make_subscription()
        assert "VAPID_PRIVATE_KEY=" in run()
        assert "2 browsers have subscribed with another key." in capsys.readouterr().err
        run("--output", str(tmp_path / "next.pem"))
        assert "keep it in VAPID_FALLBACK_PRIVATE_KEYS" in capsys.readouterr().err

    def test_subscriptions_that_ended_are_no_matter(self, subscription, push_settings, tmp_path, capsys):
        subscription.is_active = False
        subscription.save()
        push_settings(VAPID_PRIVATE_KEY=str(tmp_path / "vapid.pem"))
        run("--output", str(tmp_path / "vapid.pem"))
        assert capsys.readouterr().err == ""


def test_it_runs_before_any_key_is_configured(settings):
    settings.WEBPUSH_KIT = {"VAPID_PRIVATE_KEY": "nonsense"}
    assert "VAPID_PRIVATE_KEY=" in run()
