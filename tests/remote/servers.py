"""Servers on this machine that count what they are asked for: HTTP with ranges, and S3."""

from __future__ import annotations

import html
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    range: str
    sent: int
    status: int
    authorization: str = ""


@dataclass
class Log:
    """What a server was asked for since it was last cleared."""

    asked: list[Asked] = field(default_factory=list)

    def clear(self) -> None:
        self.asked.clear()

    def files(self) -> list[Asked]:
        """Requests for bytes of files."""
        return [one for one in self.asked if one.method == "GET" and one.range]

    @property
    def bytes(self) -> int:
        return sum(one.sent for one in self.asked)


@dataclass
class Server:
    """A server, how it misbehaves, and what it was asked for."""

    url: str
    root: Path
    log: Log = field(default_factory=Log)
    ranges: bool = True
    etags: bool = True
    password: str = ""
    refuse: str = ""  # files with this in their path are forbidden
    cut: int = 0  # so many answers for ranges end in the middle
    fail: int = 0  # so many answers are 503
    down: bool = False
    stop_after: int = -1  # so many answers for ranges, then none
    delay: float = 0.0
    busy: int = 0
    busiest: int = 0
    lock: Any = field(default_factory=threading.Lock)
    # What answers in its place: status, bytes and headers for a method, a path and its headers.
    instead: Callable[[str, str, Any], tuple[int, bytes, dict[str, str]] | None] | None = None

    def take(self, name: str) -> bool:
        """Count down, and tell whether there was something left."""
        with self.lock:
            left = getattr(self, name)
            setattr(self, name, max(0, left - 1))
        return bool(left > 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        state = self.state
        with state.lock:
            state.busy += 1
            state.busiest = max(state.busiest, state.busy)
        try:
            time.sleep(state.delay)
            self._answer(body=True)
        finally:
            with state.lock:
                state.busy -= 1

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], *, body: bool = True
    ) -> None:
        cut = status == 206 and self.state.take("cut")
        if cut:
            data = data[: len(data) // 2]
        # Noted first: who has the answer looks at once.
        self.state.log.asked.append(
            Asked(self.command, unquote(self.path), self.headers.get("Range") or "",
                  len(data) if body else 0, status, self.headers.get("Authorization") or "")
        )  # fmt: skip
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(2 * len(data) if cut else len(data)))
        self.end_headers()
        if body:
            self.close_connection = self.close_connection or cut
            try:
                self.wfile.write(data)
            except OSError:  # the other side has heard enough
                self.close_connection = True

    def _answer(self, *, body: bool) -> None:
        state = self.state
        path = unquote(self.path.partition("?")[0])
        asks_range = bool(self.headers.get("Range"))
        with state.lock:
            if asks_range and state.stop_after == 0:
                state.down = True
            if asks_range and state.stop_after > 0:
                state.stop_after -= 1
        if state.down:
            self.close_connection = True
            self.connection.close()
            return
        if state.take("fail"):
            return self._send(503, b"", {}, body=body)
        if state.instead and (told := state.instead(self.command, path, self.headers)) is not None:
            return self._send(*told, body=body)
        if state.password and self.headers.get("Authorization") != state.password:
            return self._send(401, b"", {}, body=body)
        if state.refuse and state.refuse in path:
            return self._send(403, b"", {}, body=body)
        where = state.root / path.strip("/")
        if where.is_dir():
            names = sorted(
                quote(name) + ("/" if (where / name).is_dir() else "") for name in os.listdir(where)
            )
            lines = [f'<a href="{html.escape(name)}">{html.escape(name)}</a>' for name in names]
            text = '<a href="?C=N;O=D">Name</a><a href="../">up</a>' + "\n".join(lines)
            return self._send(200, text.encode(), {"Content-Type": "text/html"}, body=body)
        if not where.is_file():
            return self._send(404, b"", {}, body=body)
        data = where.read_bytes()
        status = where.stat()
        headers = {"ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"'} if state.etags else {}
        if asks_range and state.ranges:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(data))
            if start >= len(data):
                return self._send(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            return self._send(206, data[start:stop], headers)
        if not body:
            headers["Content-Length"] = str(len(data))
        return self._send(200, data, headers, body=body)


@contextmanager
def http_server(root: Path) -> Iterator[Server]:
    """Serve a folder; the log tells what was asked for."""

    class Handler(_Handler):
        pass

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *arguments: Any) -> None:
            pass

    server = Threads(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{server.server_address[1]}", root)
    Handler.state = state
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class S3:
    """A server that speaks S3, and what it was asked for."""

    url: str
    client: Any
    log: Log = field(default_factory=Log)
    fail: int = 0  # so many answers are 503
    range: Callable[[str], str] = str  # what is understood of a range that is asked for

    @property
    def options(self) -> dict[str, Any]:
        """Storage options with credentials that are easily recognised."""
        return {
            "key": "AKIAKNOWNBYTESTS",
            "secret": "known-by-tests-only",
            "endpoint_url": self.url,
        }

    def put(self, bucket: str, folder: Path) -> None:
        """Make a bucket of a folder."""
        self.client.create_bucket(Bucket=bucket)
        for file in sorted(folder.rglob("*")):
            if file.is_file() and ".dbdicom_xr" not in file.parts:
                key = file.relative_to(folder).as_posix()
                self.client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
        self.log.clear()


@contextmanager
def s3_server() -> Iterator[S3]:
    """Run moto's server, which keeps its buckets in memory."""
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = DomainDispatcherApplication(create_backend_app)
    log = Log()
    state: S3

    def counting(environ: dict[str, Any], start_response: Any) -> Any:
        if state.fail:
            state.fail -= 1
            start_response("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        answer: dict[str, str] = {}
        if asked := environ.get("HTTP_RANGE"):
            environ = {**environ, "HTTP_RANGE": state.range(asked)}

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            answer["status"] = status
            return start_response(status, headers, *more)

        body = b"".join(app(environ, start))
        log.asked.append(
            Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_RANGE", ""),
                  len(body), int(answer["status"].split()[0]),
                  environ.get("HTTP_AUTHORIZATION", ""))
        )  # fmt: skip
        return [body]

    server = make_server("127.0.0.1", 0, counting, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="AKIAKNOWNBYTESTS",
        aws_secret_access_key="known-by-tests-only", region_name="us-east-1",
    )  # fmt: skip
    state = S3(url, client, log)
    try:
        yield state
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()
