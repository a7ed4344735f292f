"""A proxy on loopback that knows CONNECT alone: every name leads to one server."""

from __future__ import annotations

import contextlib
import socket
import threading


class TunnelProxy:
    """An HTTP proxy that knows CONNECT alone and connects to one port of loopback, whatever is asked for."""

    def __init__(self, port, answer=b"HTTP/1.1 200 OK\r\nRetry-After: 99\r\n\r\n"):
        self.target_port, self.answer, self.targets, self._tunnels = port, answer, [], []
        self.heads = []

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        for end in (self._listener, *self._tunnels):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve_client, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve_client(self, client):
        with client:
            self.heads.append(client.recv(65536))
            self.targets.append(self.heads[-1].split()[1].decode())
            client.sendall(self.answer)
            if b" 200 " in self.answer:
                self._tunnel(client)

    def _tunnel(self, client):
        with socket.create_connection(("127.0.0.1", self.target_port)) as server:
            self._tunnels += [client, server]
            threads = [threading.Thread(target=_copy, args=pair) for pair in ((client, server), (server, client))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def _copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
