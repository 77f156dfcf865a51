"""A hub on this machine, for tests to play, and a process that asks it: the endpoint is read at import."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class PlayedHub(http.server.BaseHTTPRequestHandler):
    """Answers requests with `answer`, which each test writes."""

    def answer(self) -> None:
        raise NotImplementedError

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(handler: type[PlayedHub], **state: Any) -> Iterator[http.server.ThreadingHTTPServer]:
    """Run a server whose handlers find `state` in `self.server`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    for name, value in state.items():
        setattr(server, name, value)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def run_client(code: str, wanted: dict[str, Any], port: int, home: Path) -> dict[str, Any]:
    """Run code that reads JSON from its input and prints some, with the hub at a port of this machine."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(wanted),
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
