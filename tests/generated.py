"""Files that follow from the options of `send()`: `python -m tests.generated` writes them, a test compares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from django_webpush_kit.options import OPTIONS, Option
from django_webpush_kit.protocol.message import Message

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference/services.md"
PAYLOAD_TYPES = ROOT / "src/django_webpush_kit/static/django_webpush_kit/push-payload.d.ts"

_TABLE = re.compile(r"(?<=\n)\| option \|.*?\n(?!\|)", re.DOTALL)

_PAYLOAD = """\
/** The JSON that one push carries. Generated from the options of `send()`: run `python -m tests.generated`. */
export interface PushPayload {
  id: string;
  token: string;
  /** The URL that takes reports. */
  events?: string;
  notification: PushNotificationMembers;
  app_badge?: number;
  /** Present in Declarative Web Push messages. */
  web_push?: 8030;
  mutable?: true;
}

export interface PushNotificationMembers {
%s
  /** Beside the ones of the payload, for older Safaris. */
  app_badge?: number;
  mutable?: true;
}

export interface PushAction {
  action: string;
  title: string;
  icon?: string;
  navigate?: string;
}
"""


def options_table(options: Mapping[str, Option] = OPTIONS) -> str:
    """The table of options on the reference page."""
    rows = [f"| `{name}` | {option.accepts} | {option.meaning} |\n" for name, option in options.items()]
    return "".join(["| option | value | meaning |\n", "|---|---|---|\n", *rows])


def payload_types(message: type[Any] = Message) -> str:
    """The TypeScript declarations of a payload."""
    members = [part.metadata for part in fields(message) if "name" in part.metadata]
    lines = [f"  {one['name']}{'' if one['name'] == 'title' else '?'}: {one['typescript']};" for one in members]
    return _PAYLOAD % "\n".join(lines)


def reference_page() -> str:
    """The reference page with its table of options up to date."""
    return _TABLE.sub(lambda _: options_table(), REFERENCE.read_text(), count=1)


GENERATED = {REFERENCE: reference_page, PAYLOAD_TYPES: payload_types}

if __name__ == "__main__":
    for path, text in GENERATED.items():
        path.write_text(text())
