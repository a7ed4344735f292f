"""Imports point downward only, as the picture of the architecture says; here it stands as data."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import django_webpush_kit

PACKAGE = "django_webpush_kit"
ROOT = Path(django_webpush_kit.__file__).parent

LAYERS = (
    ("edge", "api admin management templatetags contrib checks tasks testing urls apps"),
    ("what hosts call", "overview services legacy_service analytics health privacy"),
    ("the worker's side", "delivery"),
    ("what is written", "outbox"),
    ("who subscribed", "subscriptions"),
    ("figures of days", "rollups"),
    ("models", "models migrations"),
    ("abstract models", "base_models"),
    ("query sets", "querysets readable_rows single_statements"),
    ("values and texts", "states templating options option_checks attempt_log"),
    ("surroundings", "task_backends transports caching database gc_pause observers"),
    ("leaves", "protocol conf exceptions signals tokens outages error_reports"),
)
"""From the top down. A room may import from its own layer and from those below."""

ONLY = {
    "services": {
        "legacy_service",
        "privacy",
        "outbox",
        "subscriptions",
        "models",
        "querysets",
        "states",
        "options",
        "database",
        "exceptions",
    },
    "legacy_service": {"outbox", "subscriptions", "states", "options"},
    "task_backends": {"task_backends", "caching", "conf", "database", "outages", "error_reports"},
    "transports": {"transports", "protocol", "exceptions", "error_reports"},
    "protocol": {"protocol", "exceptions"},
    "conf": {"protocol", "exceptions", "error_reports"},
    "exceptions": set(),
    "signals": {"error_reports"},
    "tokens": {"conf"},
}
"""Rooms that may import less than their layer would allow: `services` knows nothing of the worker's side."""


class Import(NamedTuple):
    source: str
    target: str
    line: int
    is_lazy: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def room(module: str) -> str:
    """The first name below the package: "delivery" for "django_webpush_kit.delivery.engine"."""
    return module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]


MODULES = {
    ".".join([PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imports_of(module: str) -> Iterator[Import]:
    """What a module imports, from anywhere; what only the type checker sees is left out."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text(encoding="utf-8")), False)]
    while pending:
        node, is_lazy = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += [(child, is_lazy) for child in node.orelse]
            continue
        is_lazy = is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for target in targets_of(node, package):
            yield Import(module, target, node.lineno, is_lazy)
        pending += [(child, is_lazy) for child in ast.iter_child_nodes(node)]


def targets_of(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *filter(None, [node.module])])
    submodules = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in MODULES else base for name in submodules]


@cache
def all_imports() -> list[Import]:
    return [found for module in MODULES for found in imports_of(module)]


def inside_imports() -> list[Import]:
    return [found for found in all_imports() if found.target.partition(".")[0] == PACKAGE and room(found.target)]


def is_allowed(source: str, target: str) -> bool:
    heights = {name: -height for height, (_, names) in enumerate(LAYERS) for name in names.split()}
    if source == target:
        return True
    return target in ONLY[source] if source in ONLY else heights[target] <= heights[source]


def test_every_package_has_a_layer():
    known = {name for _, names in LAYERS for name in names.split()}
    assert {room(module) for module in MODULES} - {""} <= known


def test_imports_point_downward():
    assert [
        str(found)
        for found in inside_imports()
        if room(found.source) and not is_allowed(room(found.source), room(found.target))
    ] == []


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("delivery", "services"),
        ("transports", "models"),
        ("protocol", "conf"),
        ("templating", "models"),
        ("outbox", "delivery"),
        ("services", "delivery"),
        ("conf", "models"),
    ],
)
def test_the_rule_detects_violations(source, target):
    assert not is_allowed(source, target)


def test_there_are_no_import_cycles():
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in inside_imports():
        # a submodule brings its package along, but a package may well import its own modules
        parent = found.target.rpartition(".")[0]
        brought = {found.target} | ({parent} if room(parent) and not found.source.startswith(parent) else set())
        if not found.is_lazy:
            graph[found.source] |= brought - {found.source}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize(
    ("layer", "refused"), [("protocol", "django"), ("transports", "django.conf"), ("transports", "django.db")]
)
def test_protocol_and_transports_import_neither_models_nor_settings(layer, refused):
    foreign = [found for found in all_imports() if room(found.source) == layer]
    assert foreign
    assert [str(found) for found in foreign if f"{found.target}.".startswith(f"{refused}.")] == []


def test_transports_load_without_settings():
    script = (
        "import sys\n"
        "from django_webpush_kit.transports import ConsoleTransport, LocmemTransport, PyWebPushTransport\n"
        "from django.conf import settings\n"
        "assert not settings.configured\n"
        "assert 'django.db.models' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_no_module_is_called_utils_or_helpers():
    parts = {part for module in MODULES for part in module.split(".")}
    assert parts.isdisjoint({"utils", "util", "helpers", "helper", "misc", "common"})
