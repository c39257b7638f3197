"""The `environ` of a WSGI request. Source: PEP 3333."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from sockact.engines.http.call import AppCall
from sockact.engines.http.head import Request, is_below

MAX_NAMES = 1024
LONGEST_NAME = 64
"""Most names of variables that are remembered, and bytes of each: clients may make them up."""

_VARIABLES = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
"""Names of header fields, and of their variables."""

_PORTS = {"http": "80", "https": "443"}
_PERCENT = ord("%")


class FileWrapper:
    """The `wsgi.file_wrapper`: a file as a response, sent by the kernel where that is possible."""

    def __init__(self, file: Any, block_size: int = 65536) -> None:
        self.file = file
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        while data := self.file.read(self._block_size):
            yield data

    def size(self) -> int | None:
        """Return the bytes from its position to its end; None if it is no regular file."""
        try:
            found = os.fstat(self.file.fileno())
            position: int = self.file.tell()
        except (AttributeError, OSError, ValueError):
            return None
        return found.st_size - position if stat.S_ISREG(found.st_mode) else None


def constant(errors: Any, *, multithread: bool) -> dict[str, Any]:
    """Return the variables that are the same in all requests."""
    return {
        "REMOTE_ADDR": "",
        "wsgi.version": (1, 0),
        "wsgi.errors": errors,
        "wsgi.multithread": multithread,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,  # Werkzeug needs it to read a chunked body
    }


def variables(call: AppCall) -> dict[str, Any]:
    """Return the variables of a request, without its body."""
    connection, request = call.connection, call.request
    raw, root = request.raw_path, connection.shared.root_path.encode().decode("latin-1")
    if _PERCENT in raw:
        from urllib.parse import unquote_to_bytes  # imports ipaddress

        raw = unquote_to_bytes(raw)
    path = raw.decode("latin-1")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": root,
        "PATH_INFO": path[len(root) :] if root and is_below(path, root) else path,
        "QUERY_STRING": request.query.decode("latin-1"),
        "REQUEST_URI": request.target.decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{request.version}",
        "wsgi.url_scheme": call.scheme,
    }
    if call.client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = call.client[0], str(call.client[1])
    if request.id:
        environ["sockact.request_id"] = request.id
    _add_fields(environ, request)
    environ["SERVER_NAME"], environ["SERVER_PORT"] = _server(connection.server, environ)
    return environ


def _add_fields(environ: dict[str, Any], request: Request) -> None:
    for name, value in request.headers:
        variable = _VARIABLES.get(name)
        if variable is None:
            if b"_" in name:
                continue  # the app could not tell X_Forwarded_For from X-Forwarded-For
            variable = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            if len(_VARIABLES) < MAX_NAMES and len(name) <= LONGEST_NAME:
                _VARIABLES[name] = variable
        text = value.decode("latin-1")
        if variable in environ:
            separator = "; " if variable == "HTTP_COOKIE" else ","
            text = f"{environ[variable]}{separator}{text}"
        environ[variable] = text


def _server(address: tuple[str, int | None] | None, environ: dict[str, Any]) -> tuple[str, str]:
    """Return SERVER_NAME and SERVER_PORT, of which a URL can be made."""
    if address is not None and address[1] is not None:
        return (f"[{address[0]}]" if ":" in address[0] else address[0]), str(address[1])
    default = _PORTS[environ["wsgi.url_scheme"]]
    host: str = environ.get("HTTP_HOST", "")
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        return name or "localhost", port
    return host.removesuffix(":") or "localhost", default
