"""`manage.py generate_vapid_keys`: generate the site's VAPID key pair (RFC 8292)."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.database import outbox_database
from django_webpush_kit.management.reporting import TerminalCommand
from django_webpush_kit.models import get_subscription_model
from django_webpush_kit.protocol.vapid import VapidKey, generate_vapid_keys


class Command(TerminalCommand):
    """Generate a key pair, and print it or write it to a file that only its owner can read."""

    help = (
        "Generate a VAPID key pair. Replacing the keys of a live site breaks all subscriptions made with the old pair."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--format", choices=sorted(FORMATS), default="env", help="env (default), json or pem")
        parser.add_argument("--output", metavar="FILE", help="write to this new file (mode 0600) instead of printing")
        parser.add_argument("--force", action="store_true", help="replace the file of --output if it exists")
        parser.add_argument(
            "--abandon-subscriptions",
            action="store_true",
            help="write the file that VAPID_PRIVATE_KEY names although browsers have subscribed with another key",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print or write one new pair. With `--output` the private key is not printed."""
        path = None if options["output"] is None else Path(options["output"])
        self._warn_of_subscriptions(path, is_accepted=options["abandon_subscriptions"])
        keys = generate_vapid_keys()
        text = FORMATS[options["format"]](keys)
        if path is None:
            self.stdout.write(text)
            return
        try:
            write_private_file(path, text + "\n", replace=options["force"])
        except FileExistsError:
            raise CommandError(
                f"{path} exists. An overwritten key cannot be recovered; use --force to replace it anyway."
            ) from None
        except OSError as error:
            fix = "" if path.parent.is_dir() else f" Create its folder: mkdir -p {shlex.quote(str(path.parent))}"
            raise CommandError(f"{path} could not be written: {error.strerror}.{fix}") from error
        if options["verbosity"] > 0:
            self._explain(path.absolute(), keys["public_key"])

    def _warn_of_subscriptions(self, path: Path | None, *, is_accepted: bool) -> None:
        """Warn if browsers have subscribed: none of them did with a new key.

        Raises CommandError if the new key would take the place of theirs.
        """
        count = active_subscriptions()
        if not count:
            return
        browsers = "1 browser has" if count == 1 else f"{count:,} browsers have"
        text = (
            f"{browsers} subscribed with another key. With a new key they receive nothing until they subscribe again. "
            "If you have the old key file, restore it."
        )
        if path is not None and _is_named_by_settings(path) and not is_accepted:
            raise CommandError(f"{text} To make a new key anyway, add --abandon-subscriptions.")
        self.stderr.write(self.style.WARNING(f"{text} To change the key, keep it in VAPID_FALLBACK_PRIVATE_KEYS."))

    def _explain(self, path: Path, public_key: str) -> None:
        """Print what to do with the file: it is all that the settings need."""
        self.stdout.write(f"The private key is in {path}. Only the file's owner can read it.")
        if _is_named_by_settings(path):
            self.stdout.write('WEBPUSH_KIT["VAPID_PRIVATE_KEY"] names this file already.')
        else:
            self.stdout.write(f"Put its path into your settings:\n\n{SETTINGS.format(path=str(path))}\n")
        self.stdout.write(f"The public key is derived from it: {public_key}\nNothing else needs to be copied.")


SETTINGS = """\
WEBPUSH_KIT = {{
    "VAPID_PRIVATE_KEY": {path!r},
    "VAPID_SUBJECT": "mailto:you@example.com",  # the address that push services write to
}}"""


def _is_named_by_settings(path: Path) -> bool:
    try:
        return Path(kit_settings.VAPID_PRIVATE_KEY).resolve() == path.resolve()
    except (ImproperlyConfigured, TypeError, ValueError, OSError):
        return False  # the setting is a key, or invalid


def active_subscriptions() -> int:
    """Return the number of active subscriptions, or 0 if the database cannot be read, as on a new site."""
    try:
        with transaction.atomic(using=outbox_database()):
            return get_subscription_model().objects.using(outbox_database()).active().count()
    except Exception:  # noqa: BLE001 - a key is made before anything else is configured
        return 0


def write_private_file(path: Path, text: str, *, replace: bool = False) -> None:
    """Create a file with mode 0600 from the start. Raises FileExistsError if it exists and `replace` is False."""
    target = path.with_name(f".{path.name}.{secrets.token_hex(8)}") if replace else path
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    if replace:
        target.replace(path)


def _variables(keys: dict[str, str]) -> dict[str, str]:
    return {
        "VAPID_PRIVATE_KEY": keys["private_key"],
        "VAPID_PUBLIC_KEY": keys["public_key"],
        "NEXT_PUBLIC_VAPID_KEY": keys["public_key"],
    }


def _as_env(keys: dict[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in _variables(keys).items())


def _as_json(keys: dict[str, str]) -> str:
    return json.dumps(_variables(keys), indent=2)


def _as_pem(keys: dict[str, str]) -> str:
    return VapidKey.load(keys["private_key"]).pem().rstrip("\n")


FORMATS = {"env": _as_env, "json": _as_json, "pem": _as_pem}
