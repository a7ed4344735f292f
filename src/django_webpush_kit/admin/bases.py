"""Django's admin classes with type parameters, which exist for the type checker only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.core.paginator import Paginator as _Paginator

if TYPE_CHECKING:
    from typing import Any

    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    Paginator = _Paginator[Any]
else:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline
    Paginator = _Paginator
