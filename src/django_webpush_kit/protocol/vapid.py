"""VAPID keys and tokens (RFC 8292)."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

TOKEN_LIFETIME = 12 * 3600
"""Seconds. Push services refuse more than 24 hours."""


class VapidKey:
    """A VAPID key pair. `VapidKey.load(...)` or `VapidKey.generate()`; its repr hides the private half."""

    @classmethod
    def generate(cls) -> VapidKey:
        raise NotImplementedError

    @classmethod
    def load(cls, text_or_path: str | PathLike[str]) -> VapidKey:
        raise NotImplementedError

    @property
    def public_key(self) -> str:
        raise NotImplementedError

    @property
    def key_id(self) -> str:
        raise NotImplementedError

    def pem(self) -> str:
        raise NotImplementedError


class VapidSigner:
    """Makes `Authorization` values and reuses one token per audience."""

    def __init__(self, key: VapidKey, subject: str, lifetime: int = TOKEN_LIFETIME) -> None:
        raise NotImplementedError

    def authorization(self, endpoint: str, now: float | None = None) -> str:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a valid `Authorization` value says: its claims and the base64url public key that signed them."""

    claims: dict[str, Any]
    public_key: str


def generate_vapid_keys() -> dict[str, str]:
    raise NotImplementedError


def audience(endpoint: str) -> str:
    raise NotImplementedError


def check_subject(subject: str) -> str:
    raise NotImplementedError


def verify_authorization(header: str, *, audience: str, now: float) -> VerifiedToken:
    raise NotImplementedError
