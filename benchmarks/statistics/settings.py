"""Settings of the benches of statistics and lists: those of the test suite, with a database as projects have it."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("TEST_DATABASE", "postgresql")

from tests.settings import *  # noqa: F403  # the variable has to be set before
from tests.settings import DATABASES

DATABASE = DATABASES["default"]
DATABASE["TEST"] = {"NAME": "webpush_kit_rows_bench"}
if os.environ["TEST_DATABASE"] == "sqlite":
    DATABASE["TEST"]["NAME"] = str(Path(tempfile.gettempdir()) / "webpush_kit_rows_bench.sqlite3")
    # with the settings of the documentation: the tests do not wait for the disk
    DATABASE["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL;"
