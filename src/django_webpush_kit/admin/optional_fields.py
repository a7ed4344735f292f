"""Form fields that staff may leave empty, for the forms of broadcasts and templates."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget


def text_field(label: Any, help_text: Any = "", *, max_length: int = 2000, placeholder: str = "") -> forms.CharField:
    """Return a field for one line of text."""
    attributes = {"placeholder": placeholder} if placeholder else None
    widget = AdminTextInputWidget(attributes)
    return forms.CharField(label=label, required=False, widget=widget, max_length=max_length, help_text=help_text)
