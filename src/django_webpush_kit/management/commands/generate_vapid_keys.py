"""`manage.py generate_vapid_keys`: generate the site's VAPID key pair (RFC 8292)."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.protocol.vapid import VapidKey, generate_vapid_keys


class Command(BaseCommand):
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

    def handle(self, *args: Any, **options: Any) -> None:
        """Print or write one new pair. With `--output` the private key is not printed."""
        keys = generate_vapid_keys()
        text = FORMATS[options["format"]](keys)
        if options["output"] is None:
            self.stdout.write(text)
            return
        path = Path(options["output"])
        try:
            write_private_file(path, text + "\n", replace=options["force"])
        except FileExistsError:
            raise CommandError(
                f"{path} exists. An overwritten key cannot be recovered; use --force to replace it anyway."
            ) from None
        except OSError as error:
            raise CommandError(f"{path} could not be written: {error.strerror}.") from error
        if options["verbosity"] > 0:
            self._explain(path.absolute(), keys["public_key"])

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
