"""The how-to about tenants, followed in a project with django-tenants on PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HOW_TO = (ROOT / "docs/how-to/multi-tenant.md").read_text()

MODELS = """
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin

class Shop(TenantMixin):
    auto_create_schema = True

class Domain(DomainMixin):
    pass
"""

SCRIPT = Path(__file__).with_name("two_shops.py")

pytestmark = pytest.mark.services


@pytest.fixture
def project(tmp_path):
    """An app named shops whose modules are those of the how-to."""
    shops = tmp_path / "shops"
    (shops / "management/commands").mkdir(parents=True)
    for folder in (shops, shops / "management", shops / "management/commands"):
        (folder / "__init__.py").touch()
    (shops / "models.py").write_text(MODELS)
    for path, code in re.findall(r"```python\n# mysite/(\S+)\n(.*?)```", HOW_TO, re.DOTALL):
        (shops / path).write_text(code)
    return tmp_path


def test_two_shops_in_one_process_share_nothing(project):
    pytest.importorskip("django_tenants")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)]),
        "DJANGO_SETTINGS_MODULE": "tests.tenants.settings",
        "TEST_DATABASE": "postgresql",
        "TENANTS_CACHE": str(project / "cache"),
    }
    run = subprocess.run(
        [sys.executable, SCRIPT], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1]) == {
        "delivered": "a: 1 sent\nb: 1 sent\n",
        "texts": ["Hello from a", "Hello from b"],
        "primary keys": [1, 1],
        "own report": [200, 1],
        "report to the other shop": 400,
        "own repair": 200,
        "repair at the other shop": 401,
        "health": {"a": 1, "b": 2},
        "wake-ups": 2,
    }
