"""A web server on this machine whose answers are given: right, wrong, late or none."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """A running server.

    Attributes:
        url: Its address, with a slash at the end.
        answers: Path -> answers to the requests for it, in turn; the last one is also for all further ones.
        asked: Method and path -> number of requests.
        headers: Headers of the last request.
        target: Path and query of the last request, as they were sent.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: Counter[tuple[str, str]] = Counter()
        self.headers: dict[str, str] = {}
        self.target = ""
        self.ending = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                web.headers, web.target = dict(self.headers), self.path
                number = web.asked[self.command, path]
                web.asked[self.command, path] += 1
                answers = web.answers.get(path) or [status(404)]
                answers[min(number, len(answers) - 1)](self)

            do_HEAD = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # Clients that give up are part of the tests.
        self._server.handle_error = lambda request, client: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def put(self, path: str, *answers: Answer) -> str:
        """Set the answers for a path, without its first slash, and return its address."""
        self.answers[f"/{path}"] = list(answers)
        return self.url + path

    @contextmanager
    def running(self) -> Iterator["Web"]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.ending.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def content(body: bytes, code: int = 200, **headers: str) -> Answer:
    """Answer with a body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def status(code: int) -> Answer:
    """Answer with a status only."""
    return content(b"", code)


def s3_error(code: str, number: int) -> Answer:
    """Answer as S3 does when it refuses."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>words</Message></Error>".encode()
    return content(body, number, Content_Type="application/xml")


def redirect(target: str) -> Answer:
    """Answer with another address."""
    return content(b"", 302, Location=target)


def truncated(body: bytes, missing: int) -> Answer:
    """Announce more bytes than are sent."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content(body, Content_Length=str(len(body) + missing))(handler)
        handler.close_connection = True

    return answer


def silent(web: Web) -> Answer:
    """Do not answer before the server ends."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        web.ending.wait(60)
        handler.close_connection = True

    return answer


def endless(web: Web, part: bytes = b"x" * 65536, pause: float = 0.01) -> Answer:
    """Send parts until the server ends, without saying how many."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while not web.ending.wait(pause):
            handler.wfile.write(part)

    return answer
