"""Numbers as people read them."""

from __future__ import annotations

from django.utils.formats import number_format


def formatted(value: float | None) -> str:
    """Return a number with the separators of the active language, or a dash for None."""
    if value is None:
        return "-"
    text: str = number_format(int(value) if value == int(value) else value, use_l10n=True, force_grouping=True)
    return text
