"""Types of command-line arguments."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from typing import Any


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object. argparse adds the option's name to the error."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"must be a JSON object, not {type(value).__name__}")
    return value
