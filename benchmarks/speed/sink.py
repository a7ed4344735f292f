"""The push service of the bench: nginx on loopback with TLS and HTTP/2, which accepts everything.

One port answers at once, the other after 50 ms (with nginx's echo module), as a push service far away does.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django_webpush_kit.testing.certificates import write_certificate

ECHO_MODULES = (
    "/usr/lib/nginx/modules/ngx_http_echo_module.so",
    "/usr/lib64/nginx/modules/ngx_http_echo_module.so",
    "/usr/share/nginx/modules/ngx_http_echo_module.so",
)

LATENCIES = (0, 50)
"""Milliseconds."""

_CONFIGURATION = """\
{module}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  http2_max_concurrent_streams 128;
  ssl_certificate {folder}/server.pem;
  ssl_certificate_key {folder}/server.pem;
{servers}
}}
"""

_SERVER = "  server {{ listen 127.0.0.1:{port} ssl http2; location / {{ {answer} }} }}"

_ANSWERS = {
    0: "return 201;",
    50: 'echo_read_request_body; echo_sleep 0.05; echo_status 201; echo -n "";',
}


@dataclass(frozen=True, slots=True)
class Sink:
    """Where to send to: a port for each latency, and the certificate to trust."""

    ports: dict[int, int]
    ca_bundle: Path


@contextmanager
def running_sink(folder: Path) -> Iterator[Sink]:
    """Run the push service; without nginx's echo module there is none with latency."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise SystemExit("The bench needs nginx (Debian: apt install nginx-light libnginx-mod-http-echo).")
    write_certificate(folder)
    module = next((path for path in ECHO_MODULES if Path(path).exists()), None)
    ports = {latency: _free_port() for latency in LATENCIES if latency == 0 or module}
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            module=f"load_module {module};" if module else "",
            folder=folder,
            servers="\n".join(_SERVER.format(port=port, answer=_ANSWERS[latency]) for latency, port in ports.items()),
        )
    )
    process = subprocess.Popen([nginx, "-p", folder, "-c", configuration], stderr=subprocess.DEVNULL)
    try:
        _wait_for(next(iter(ports.values())))
        yield Sink(ports, folder / "ca.pem")
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
