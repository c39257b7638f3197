"""The command line of another server, read into what it asks for, and what of that is not carried over."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sockact.errors import UsageError
from sockact.units import addresses, syntax
from sockact.units.servers import SERVERS, Left, Needless, OtherServer, Part, ServerOption, Setting

VARIABLE = "a variable of the shell, whose value is not known here"

_RUNNERS = {"poetry": 2, "uv": 2, "pipenv": 2, "pdm": 2, "exec": 1, "nohup": 1, "env": 1}
"""Programs that run the server, and how many words they have: `poetry run`."""
_SHELLS = ("sh", "bash", "dash")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_DEFAULTED = re.compile(r"\$\{(\w+):?-([^{}]*)\}")
_APP = re.compile(r"(?:(?:asgi|wsgi):(?=.*:))?([\w.]+)(?::([\w.]+)(\(.*\))?)?")


@dataclass(slots=True)
class CarriedOver:
    """All that an existing service asks for, as far as it was understood.

    Attributes:
        server: the server that was found.
        app: the app, as `sockact run` takes it.
        listen: addresses, as `--listen` takes them.
        given: settings of sockact, as texts.
        folder: the folder to import the app from.
        venv: the virtual environment; "" if the command does not tell.
        user: its user; "" if there is none.
        environment: variables of the app.
        certificate: the file of the certificate.
        key: the file of its key.
        options: options of the existing unit that stay, by section.
        socket_group: the group that may connect.
        left: the parts that are not carried over, each with the reason.
        notes: the parts that are not quite the same.
    """

    server: str = ""
    app: str = ""
    listen: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    venv: str = ""
    user: str = ""
    environment: list[tuple[str, str]] = field(default_factory=list)
    certificate: str = ""
    key: str = ""
    options: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    socket_group: str = ""
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Return a path that may be relative to the folder."""
        return os.path.normpath(os.path.join(self.folder, name))

    def report(self) -> list[str]:
        """Return what is not carried over, and what is not quite the same, in lines."""
        left = (
            ["Not carried over:", *(f"  {each}" for each in dict.fromkeys(self.left))] if self.left else []
        )
        notes = (
            ["Not quite the same:", *(f"  {each}" for each in dict.fromkeys(self.notes))]
            if self.notes
            else []
        )
        return [f"Read as the command of {self.server}.", *left, *notes]


class _ServerParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}")


def read(words: Sequence[str], found: CarriedOver, variables: Mapping[str, str]) -> None:
    """Read a command line into `found`.

    Args:
        words: the command, without quotes.
        found: has the folder in which it runs, and the addresses of its socket units, which win over
            those of the command.
        variables: its environment, as far as it is known.

    Raises:
        UsageError: it is not the command of a known server, or names no app that could be served.
    """
    known = dict(variables)
    words = _unwrapped([each for word in words for each in _words(word, known, found)], found, known)
    server, rest = _server(words, found)
    found.server = server.name
    if server.name == "gunicorn":
        rest = [*syntax.split(known.get("GUNICORN_CMD_ARGS", "")), *rest]
    if "WEB_CONCURRENCY" in known and server.name in ("gunicorn", "uvicorn"):
        found.given["workers"] = known["WEB_CONCURRENCY"]
    found.given |= dict(server.defaults)
    chosen = _Reading(server, found)
    chosen.read(rest)


def _words(word: str, variables: Mapping[str, str], found: CarriedOver) -> list[str]:
    """Return a word with its variables replaced; one that is only a variable becomes several."""
    name = word.removeprefix("$")
    if word.startswith("$") and name in variables:
        return variables[name].split()
    return [_expanded(word, variables, found)]


def _expanded(word: str, variables: Mapping[str, str], found: CarriedOver) -> str:
    def default(match: re.Match[str]) -> str:
        if match[1] in variables:
            return variables[match[1]]
        found.notes.append(f"{match[0]}: taken for {match[2]}")
        return match[2]

    return syntax.expanded(_DEFAULTED.sub(default, word), variables)


def _unwrapped(words: list[str], found: CarriedOver, variables: dict[str, str]) -> list[str]:
    """Return the command without programs that run it, and variables set before it."""
    while words:
        program = os.path.basename(words[0])
        if match := _ASSIGNMENT.fullmatch(words[0]):
            variables[match[1]] = match[2]
            found.environment.append((match[1], match[2]))
            words = words[1:]
        elif program in _SHELLS and len(words) > 2 and re.fullmatch(r"-\w*c", words[1]):
            inner = words[2].split("&&")
            _enter(inner[:-1], found)
            words = [_expanded(each, variables, found) for each in syntax.split(inner[-1])]
        elif program in _RUNNERS and not (_RUNNERS[program] == 2 and words[1:2] != ["run"]):
            words = words[_RUNNERS[program] :]
        else:
            break
    return words


def _enter(commands: Sequence[str], found: CarriedOver) -> None:
    """Take the folder of a `cd` before the server's command; other commands are listed."""
    for each in commands:
        match syntax.split(each):
            case ["cd", folder]:
                found.folder = found.path(folder)
            case _:
                found.left.append(f"{each.strip()}: only the last command is read")


def _server(words: Sequence[str], found: CarriedOver) -> tuple[OtherServer, Sequence[str]]:
    program = os.path.basename(words[0]) if words else ""
    binary, rest = (words[0] if words else ""), words[1:]
    if re.fullmatch(r"python[\d.]*", program) and rest[:1] == ["-m"] and len(rest) > 1:
        program, rest = rest[1], rest[2:]
    if program not in SERVERS:
        shown = " ".join(words) or "no command"
        raise UsageError(f"{shown}: expected a command of {', '.join(SERVERS)}")
    if binary.startswith("/") and os.path.basename(os.path.dirname(binary)) == "bin":
        prefix = os.path.dirname(os.path.dirname(binary))
        found.venv = "" if prefix in ("/usr", "/usr/local", "") else prefix
    return SERVERS[program], rest


class _Reading:
    """One command line, on its way into what it asks for."""

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
        name = (
            option.names.split()[-1] if option.names.startswith("--") is False else option.names.split()[0]
        )
        shown = f"{name} {value}".strip()
        meaning = option.meaning
        if isinstance(meaning, Needless):
            return
        if isinstance(meaning, Left):
            self._found.left.append(f"{shown}: {meaning.why}")
        elif "$" in value:
            self._found.left.append(f"{shown}: {VARIABLE}")
        elif isinstance(meaning, Setting):
            self._found.given[meaning.name] = meaning.convert(value) if option.takes_value else "yes"
            if meaning.note:
                self._found.notes.append(f"{shown}: {meaning.name}: {meaning.note}")
        else:
            self._take(meaning, value, shown)

    def _take(self, part: Part, value: str, shown: str) -> None:
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
