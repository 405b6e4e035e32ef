"""A look-alike of the WSGI application of a service, for uWSGI; misbehaves on request.

Copied under any name (a script's, or as the module that a newer release has) together with
`daemon`, whose options, requests and documents it shares: [behaviour] has the same options.
It looks for its configuration as the real ones do: --config-file in its
arguments (Cinder), else where an environment variable says (Glance, Placement, Keystone).

What differs: the socket is uWSGI's, so at start the options say how the application loads:
    listen_after = seconds      it takes so long (in Python, so that signals are handled)
    never_listen = yes          it takes for ever
    load_fails = text           it raises RuntimeError(text)
    load_exits = code           it ends the process
at each request
    tokens_from = URL           it gives tokens, as Keystone: the answers of the look-alike there
and of the misbehaviours there are a status, `hang` (until the end of the process), `drip`,
`close` (raises), `die` (the process ends) and `seize` (the first thread keeps Python's lock until
a signal was handled, so that no other thread runs; then all do as `close`).
"""

from __future__ import annotations

import ctypes
import http.client
import importlib.util
import os
import sys
import threading
import time
from importlib.machinery import SourceFileLoader
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def _wire() -> Any:
    """The file `daemon` beside this one, as a module."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "daemon")
    loader = SourceFileLoader("lookalike_daemon", path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


wire = _wire()
wire.OPTIONS.update(load_fails="", load_exits="", tokens_from="")
wire.MISBEHAVIOURS["die"] = wire.MISBEHAVIOURS["seize"] = lambda conn, request: os._exit(3)


FOLDERS = {
    "OS_GLANCE_CONFIG_DIR": "glance-api.conf",
    "OS_PLACEMENT_CONFIG_DIR": "placement.conf",
}


def load() -> Any:
    """Load as the configuration says; return the configuration."""
    files = wire.config_files(sys.argv)
    for variable, name in FOLDERS.items():
        if not files and variable in os.environ:
            files = [os.path.join(os.environ[variable], name)]
    files = files or os.environ["OS_KEYSTONE_CONFIG_FILES"].split(";")
    config = wire.Config(files)
    config.check()
    if config.text("report"):  # each worker loads by itself: the last report stays
        own = f"{config.text('report')}.{os.getpid()}"
        wire.write_report(own)
        os.rename(own, config.text("report"))
    if config.text("load_fails"):
        raise RuntimeError(config.text("load_fails"))
    if config.text("load_exits"):
        os._exit(int(config.text("load_exits")))
    until = time.monotonic() + config.seconds("listen_after")
    while time.monotonic() < until or config.text("never_listen"):
        time.sleep(0.05)
    return config


class Application:
    """The WSGI application."""

    def __init__(self, config: Any) -> None:
        self.config = config
        # for answers of the daemon's worker, which need no socket
        self.worker = wire.Worker(config, None, None, (0, 0))
        self.seized = True

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        headers = {
            name[len("HTTP_") :].lower().replace("_", "-"): text
            for name, text in {"HTTP_HOST": "", **environ}.items()
            if name.startswith("HTTP_")
        }
        request = wire.Request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], headers, b"")
        self.config.read_again()
        self.worker.log(request)
        path = request.path.partition("?")[0]
        if request.method == "POST" and self.config.text("tokens_from"):
            return self.token(environ, start_response)
        part = self.worker.part(path)
        time.sleep(self.config.seconds(f"{part}_slow"))
        how = self.config.text(part) or (
            self.worker.refusal(request) if part == "api" else ""
        )
        if how == "seize" and threading.get_native_id() == os.getpid():
            ctypes.PyDLL(None).pause()
            self.seized = False
        while how == "hang" or (how == "seize" and self.seized):
            time.sleep(0.2)
        if how == "die":
            os._exit(3)
        if how and how != "drip" and not how.isdigit():
            raise RuntimeError(f"as it was told to: {how}")
        answer = (
            wire.compose(request, int(how))
            if how.isdigit()
            else self.worker.document(request, part, path)
        )
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        start_response(status.partition(" ")[2], [tuple(line.split(": ", 1)) for line in lines])
        return dripped(body) if how == "drip" else [body]

    def token(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """The answer of Keystone's look-alike in the test process."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        address = self.config.text("tokens_from").partition("://")[2]
        client = http.client.HTTPConnection(address)
        client.request("POST", environ["REQUEST_URI"], body)
        answer = client.getresponse()
        kept = ("content-type", "x-subject-token", "www-authenticate")
        headers = [(name, text) for name, text in answer.getheaders() if name.lower() in kept]
        start_response(f"{answer.status} {answer.reason}", headers)
        return [answer.read()]


def dripped(body: bytes) -> Iterator[bytes]:
    for number in body:
        yield bytes([number])
        time.sleep(1)


application = Application(load())
