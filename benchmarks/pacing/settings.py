"""Settings of every process of the pacing bench: those of the speed bench, with a rate for one push service."""

import json
import os

from benchmarks.speed.settings import *  # noqa: F403  # settings extend others
from benchmarks.speed.settings import WEBPUSH_KIT as SPEED

WEBPUSH_KIT = {**SPEED, "SEND_RATES": json.loads(os.environ.get("BENCH_SEND_RATES", "{}"))}
