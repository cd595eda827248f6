"""A server on 127.0.0.1 that answers as a test wants, well or badly. It stops by itself."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Respond = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a small answer waits for an acknowledgement

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, LoopbackServer)
        with server.lock:
            server.requests.append((self.path, dict(self.headers)))
        server.routes.get(self.path.partition("?")[0], not_found)(self)

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, status: int, body: bytes, n_declared: int | None = None, /, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if n_declared is None else n_declared))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def reset(self) -> None:
        """Break the connection so that the client sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


class LoopbackServer(ThreadingHTTPServer):
    root: Path  # set by tests whose handler answers from a folder
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.routes: dict[str, Respond] = {}
        self.connections: list[socket.socket] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def go_away(self) -> None:
        """Answer nobody any more, those with an open connection included."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *arguments: object) -> None:
        """A client that went away is what some tests are about."""

    def n_requests(self, path: str) -> int:
        return sum(asked.partition("?")[0] == path for asked, _ in self.requests)


@contextlib.contextmanager
def loopback_server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def not_found(handler: Handler) -> None:
    body = b'<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code></Error>'
    handler.answer(404, body, Content_Type="application/xml")


def ok(body: bytes, **headers: str) -> Respond:
    return lambda handler: handler.answer(200, body, **headers)


def in_turn(*responses: Respond) -> Respond:
    """Answers the first request by the first, …, and every further one by the last."""
    pending = list(responses)
    lock = threading.Lock()

    def respond(handler: Handler) -> None:
        with lock:
            chosen = pending.pop(0) if len(pending) > 1 else pending[0]
        chosen(handler)

    return respond


def status(code: int, **headers: str) -> Respond:
    return lambda handler: handler.answer(code, b"an error", **headers)


def cut_short(body: bytes) -> Respond:
    """Declares the whole body and ends the connection after half of it."""

    def respond(handler: Handler) -> None:
        handler.close_connection = True
        handler.answer(200, body[: len(body) // 2], len(body))

    return respond


def reset_in_the_middle(body: bytes) -> Respond:
    def respond(handler: Handler) -> None:
        handler.answer(200, body[: len(body) // 2], len(body))
        handler.reset()

    return respond


def reset_at_once(handler: Handler) -> None:
    handler.reset()
