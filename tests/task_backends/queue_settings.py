"""Settings of the worker processes that tests start; what has to be the same as in the test comes by environment."""

import json
import os

from tests.settings import *  # noqa: F403  # the whole of it

WEBPUSH_KIT = json.loads(os.environ["WEBPUSH_KIT_TEST_SETTINGS"])
Q_CLUSTER = {"name": "tests", "orm": "default", "workers": 1, "timeout": 30, "retry": 120, "poll": 0.1}
CELERY_BROKER_URL = os.environ.get("TEST_BROKER", "memory://")
