"""Settings of the worker processes that tests start: those of the tests, with what one test changed on top."""

import json
import os
from importlib import import_module

globals().update(vars(import_module(os.environ["TEST_SETTINGS_MODULE"])))

WEBPUSH_KIT = json.loads(os.environ["WEBPUSH_KIT_TEST_SETTINGS"])
Q_CLUSTER = {"name": "tests", "orm": "default", "workers": 1, "timeout": 30, "retry": 120, "poll": 0.1}
CELERY_BROKER_URL = os.environ.get("TEST_BROKER", "memory://")
