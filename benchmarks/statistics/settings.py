"""Settings of the statistics bench: those of the test suite, with a PostgreSQL database of its own."""

import os

os.environ["TEST_DATABASE"] = "postgresql"

from tests.settings import *  # noqa: F403  # the variable has to be set before
from tests.settings import DATABASES

DATABASES["default"]["NAME"] = "webpush_kit_statistics_bench"
