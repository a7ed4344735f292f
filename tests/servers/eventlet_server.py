"""The project under eventlet: `python -m tests.servers.eventlet_server PORT`."""

import sys

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402  # patched first

from tests.servers import project  # noqa: E402  # patched first

wsgi.server(eventlet.listen(("127.0.0.1", int(sys.argv[1]))), project.wsgi, log_output=False)
