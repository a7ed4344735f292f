"""Settings of the bench of the lists: those of the statistics bench, with a database of its own."""

from benchmarks.statistics.settings import *  # noqa: F403  # the whole of it
from benchmarks.statistics.settings import DATABASES

DATABASES["default"]["NAME"] = "webpush_kit_lists_bench"
