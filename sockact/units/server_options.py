"""The options of another server, read into what they ask for, and what of that is not carried over."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sockact.config.access_format import access_format
from sockact.config.settings import FIELDS
from sockact.errors import UsageError
from sockact.units import addresses
from sockact.units.carried_over import VARIABLE, CarriedOver
from sockact.units.servers import Left, Needless, OtherServer, RequestPart, ServerOption, Setting

_APP = re.compile(r"(?:(?:asgi|wsgi):(?=.*:))?([\w.]+)(?::([\w.]+)(\(.*\))?)?")
"""An app: `module`, `module:attribute`, `module:factory()`."""


class _ServerParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}")


class OptionReader:
    """Reads the options of one command line into all that is known of its service."""

    def __init__(self, server: OtherServer, found: CarriedOver) -> None:
        self._server = server
        self._found = found
        self._binds: list[str] = []
        self._host, self._port = "", ""
        self._proxies: str | None = server.trusts or None
        self._worker_class = "sync" if server.name == "gunicorn" else ""

    def read(self, words: Sequence[str]) -> None:
        """Read the words after the server's name."""
        parser = _ServerParser(prog=self._server.name, add_help=False)
        for number, option in enumerate(self._server.options):
            action = "append" if option.takes_value else "append_const"
            more: dict[str, Any] = {} if option.takes_value else {"const": ""}
            parser.add_argument(*option.names.split(), dest=str(number), action=action, **more)
        parser.add_argument("positional", nargs="*")
        known, unknown = parser.parse_known_intermixed_args(words)
        for number, option in enumerate(self._server.options):
            for value in getattr(known, str(number)) or ():
                self._apply(option, value)
        self._found.left += [
            f"{word}: unknown option of {self._server.name}" for word in unknown if word[0] == "-"
        ]
        self._take_app(known.positional)
        self._finish()

    def _apply(self, option: ServerOption, value: str) -> None:
        name = next(each for each in option.names.split() if each.startswith("--"))
        shown = f"{name} {value}".strip()
        meaning = option.meaning
        if isinstance(meaning, Needless):
            return
        if isinstance(meaning, Left):
            self._found.left.append(f"{shown}: {meaning.why}")
        elif "$" in value:
            self._found.left.append(f"{shown}: {VARIABLE}")
        elif isinstance(meaning, Setting):
            self._set(meaning.name, meaning.convert(value if option.takes_value else "yes"))
            if meaning.note:
                self._found.notes.append(f"{shown}: {meaning.name}: {meaning.note}")
        else:
            self._take(meaning, value, shown)

    def _set(self, name: str, value: str) -> None:
        if isinstance(FIELDS[name].default, tuple):
            self._found.given[name] = [*self._found.given.get(name, ()), value]
        else:
            self._found.given[name] = value

    def _take(self, part: RequestPart, value: str, shown: str) -> None:
        found = self._found
        parts: dict[str, Callable[[], object]] = {
            "listen": lambda: self._binds.extend(value.split(",")),
            "host": lambda: setattr(self, "_host", value),
            "port": lambda: setattr(self, "_port", value),
            "uds": lambda: self._binds.append(f"unix:{value}"),
            "worker_class": lambda: setattr(self, "_worker_class", value),
            "folder": lambda: setattr(found, "folder", found.path(value)),
            "pythonpath": lambda: found.environment.append(("PYTHONPATH", value.replace(",", ":"))),
            "variable": lambda: found.environment.append(
                (value.partition("=")[0], value.partition("=")[2])
            ),
            "user": lambda: setattr(found, "user", value),
            "group": lambda: found.options.setdefault("Service", []).append(("Group", value)),
            "access_log": lambda: self._log(value, shown),
            "access_format": lambda: self._access_format(value, shown),
            "error_log": lambda: self._error_log(value, shown),
            "certificate": lambda: setattr(found, "certificate", found.path(value)),
            "key": lambda: setattr(found, "key", found.path(value)),
            "proxies": lambda: setattr(self, "_proxies", value),
            "no_proxies": lambda: setattr(self, "_proxies", None),
            "proxy_headers": lambda: found.left.append(f"{shown}: name the proxy with --trusted-proxies"),
            "proxy_protocol": lambda: found.given.update(proxy_protocol="web"),
            "env_file": lambda: self._env_file(value),
            "loop": lambda: self._loop(value, shown),
            "interface": lambda: self._interface(value, shown),
            "deflate": lambda: found.given.update(websocket_compression=value.lower()),
            "uvicorn_level": lambda: found.given.update(log_level="debug" if value == "trace" else value),
            "no_access_log": lambda: found.given.pop("access_log", None),
        }
        parts[part.name]()

    def _log(self, value: str, shown: str) -> None:
        self._found.given["access_log"] = "yes"
        if value != "-":
            self._found.notes.append(f"{shown}: the access log goes to the journal, too")

    def _access_format(self, value: str, shown: str) -> None:
        try:
            self._found.given["access_log_format"] = access_format(value)
        except ValueError as error:
            self._found.left.append(f"{shown}: {error}")

    def _error_log(self, value: str, shown: str) -> None:
        if value != "-":
            self._found.notes.append(f"{shown}: the log goes to the journal")

    def _env_file(self, value: str) -> None:
        self._found.given.setdefault("env_file", [])
        self._found.given["env_file"] = [*self._found.given["env_file"], self._found.path(value)]
        self._found.notes.append(
            f"--env-file {value}: in the syntax of systemd, and read by the service's user"
        )

    def _loop(self, value: str, shown: str) -> None:
        if value == "asyncio":
            self._found.given["loop"] = "asyncio"
        elif value not in ("auto", "uvloop"):
            self._found.left.append(f"{shown}: expected asyncio or uvloop")

    def _interface(self, value: str, shown: str) -> None:
        if value in ("wsgi", "asgi2"):
            self._found.given["kind"] = value
        elif value not in ("auto", "asgi", "asgi3"):
            self._found.left.append(f"{shown}: expected an app for ASGI or WSGI")

    def _take_app(self, positional: Sequence[str]) -> None:
        """Find the app among words of which some may be values of unknown options."""
        fitting = [word for word in positional if _APP.fullmatch(word)]
        named = [word for word in fitting if ":" in word] or fitting
        if not named:
            raise UsageError(
                f"{self._server.name} {' '.join(positional)}: there is no app, such as shop:app"
            )
        chosen = named[-1]
        self._found.left += [f"{word}: not understood" for word in positional if word != chosen]
        match = _APP.fullmatch(chosen)
        assert match is not None
        module, attribute, call = match.groups()
        attribute = attribute or self._server.attribute
        if not attribute:
            raise UsageError(f"{chosen}: expected module:attribute")
        if call and call[1:-1].strip():
            raise UsageError(f"{chosen}: expected an app without arguments, made by a module of your own")
        if call:
            self._found.given["factory"] = "yes"
        self._found.app = f"{module}:{attribute}"

    def _finish(self) -> None:
        found = self._found
        if not self._binds and (self._host or self._port):
            self._binds.append(f"{self._host or '127.0.0.1'}:{self._port or '8000'}")
        if not found.listen:
            unknown = any(VARIABLE in each for each in found.left)
            for bind in self._binds or ([] if unknown else [self._server.listen]):
                self._listen(bind)
        self._name_worker_class()
        self._trust()
        if found.certificate and not found.key:
            found.left.append(f"--certfile {found.certificate}: expected its key in a file of its own")
            found.certificate = ""

    def _listen(self, bind: str) -> None:
        """Take an address as the other server has it."""
        found = self._found
        if bind.startswith("fd://"):
            return  # systemd's socket unit tells
        if bind.startswith("unix:"):
            found.listen.append("unix:" + found.path(bind.removeprefix("unix:").replace("//", "/", 1)))
            return
        host, colon, port = bind.rpartition(":")
        if not colon:
            host, port = bind, "8000"
        host = {"localhost": "127.0.0.1", "*": ""}.get(host, host)
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        found.listen.append(f"{host}:{port}")

    def _name_worker_class(self) -> None:
        name, found = self._worker_class, self._found
        if re.search(r"gevent|eventlet|tornado", name):
            found.left.append(
                f"--worker-class {name}: it replaces parts of Python that sockact stands on;"
                " `sockact run -- gunicorn ...` supervises gunicorn instead"
            )
        elif name in ("sync", "gunicorn.workers.sync.SyncWorker") and "threads" not in found.given:
            found.given["threads"] = "1"
            found.notes.append(
                "a sync worker answers one request at a time: --threads=1; more if the app may"
            )

    def _trust(self) -> None:
        """Trust the proxies that the server trusts, by default those on this machine."""
        found, proxies = self._found, self._proxies
        if proxies is None or not found.listen:
            return
        local = all(addresses.parse(each, template=True).kind == "unix" for each in found.listen)
        if local and (self._server.name == "gunicorn" or proxies == "*"):
            found.given["trusted_proxies"] = ["unix"]
        elif proxies.strip() == "*":
            found.left.append(
                "--forwarded-allow-ips *: any client could choose its address; name the proxy"
            )
        elif not local:
            found.given["trusted_proxies"] = [each.strip() for each in proxies.split(",") if each.strip()]
