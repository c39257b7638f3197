"""Clients and proxies that nobody here wrote, on a machine: each is a unit of its own.

None of them says for certain that it had to connect again: wrk does that in silence where a response says
`Connection: close`, a proxy is made to. The kernel counts for all of them (`opened`).
"""

from __future__ import annotations

import contextlib
import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tests.support.machine.machine import Machine
from tests.support.machine.service import wait_until

PROXY_PORT = 8080
TRIAL = 1
"""Connections that wrk opens and closes before its own, to try the address: wrk.resolve in its wrk.lua."""

PATIENCE = "60s"
FOLDER = "/run/partners"
"""Of their configuration and their logs."""


def opened(machine: Machine) -> int:
    """Return how many TCP connections were opened on the machine since its boot, by whomever.

    Source: the kernel's snmp_counter.rst, TcpActiveOpens.
    """
    names, values = (line.split() for line in machine.read("/proc/net/snmp").splitlines() if "Tcp:" in line)
    return int(dict(zip(names, values, strict=True))["ActiveOpens"])


@contextlib.contextmanager
def running(machine: Machine, name: str, *command: str) -> Iterator[None]:
    """Run a program as a unit until the end of the block; SIGINT ends it, its output is in `FOLDER`."""
    machine.run("mkdir", "-p", FOLDER)
    options = (
        *("LimitNOFILE=65536", "KillSignal=SIGINT"),
        *(f"StandardOutput=truncate:{FOLDER}/{name}.out", f"StandardError=append:{FOLDER}/{name}.out"),
    )
    start = ("systemd-run", "--quiet", "--collect", "--service-type=exec", f"--unit=partner-{name}")
    machine.run(*start, *(f"--property={option}" for option in options), "--", *command)
    try:
        yield
    finally:
        machine.run("systemctl", "stop", f"partner-{name}", check=False)


@dataclass
class Wrk:
    """The report of wrk, once it has ended."""

    said: str = ""

    @property
    def requests(self) -> int:
        """The number of requests that were answered."""
        found = re.search(r"(\d+) requests in ", self.said)
        assert found, self.said
        return int(found[1])


@contextlib.contextmanager
def wrk(machine: Machine, connections: int, pause: int) -> Iterator[Wrk]:
    """Run wrk, whose connections all stand when the block begins.

    Args:
        machine: where.
        connections: how many.
        pause: milliseconds between two requests of a connection, on average: drawn by lot, or all of them
            would go in step. 0: wrk's own way, as fast as it goes.
    """
    script = f"{FOLDER}/wrk.lua"
    machine.write(script, f"function delay() return math.random(0, {2 * pause}) end\n" if pause else "")
    # Patient: a machine that is busy with other things is no error of the service. The end comes by signal.
    options = (f"--timeout={PATIENCE}", "--threads=1", "--duration=1h", f"--script={script}")
    before = opened(machine)
    client = Wrk()
    command = ("wrk", *options, f"--connections={connections}", "http://127.0.0.1:8000/")
    with running(machine, "wrk", *command):
        wait_until(lambda: opened(machine) - before == connections + TRIAL)
        yield client
    client.said = machine.read(f"{FOLDER}/wrk.out")


# Neither proxy tries twice, nor closes a connection by itself, to whichever side.
NGINX = f"""
user www-data;
daemon off;
pid {FOLDER}/nginx.pid;
error_log {FOLDER}/nginx.log warn;
worker_processes 1;
events {{ worker_connections 8192; }}
http {{
    log_format outcome "$status $upstream_status";
    access_log {FOLDER}/access.log outcome;
    keepalive_requests 1000000000;
    keepalive_timeout 1d;
    keepalive_time 1d;
    upstream app {{
        server 127.0.0.1:8000 max_fails=0;
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 1d;
        keepalive_time 1d;
    }}
    server {{
        listen 127.0.0.1:{PROXY_PORT} backlog=4096;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream off;
        }}
    }}
}}
"""

HAPROXY = f"""
global
    nbthread 1
    maxconn 8192
    stats socket {FOLDER}/haproxy.sock
defaults
    mode http
    retries 0
    no option redispatch
    http-reuse always
    timeout connect {PATIENCE}
    timeout server {PATIENCE}
    timeout client 1d
    timeout http-keep-alive 1d
frontend clients
    bind 127.0.0.1:{PROXY_PORT}
    default_backend service
backend service
    server app 127.0.0.1:8000 pool-max-conn -1 pool-purge-delay 1d
"""
INSTANCES = (8001, 8002, 8003)
"""Ports of several instances of the service, which is also how these are called."""


@dataclass(frozen=True, slots=True)
class Proxy(ABC):
    """A proxy before the service on a machine."""

    machine: Machine
    name: ClassVar[str]
    configuration: ClassVar[str]
    command: ClassVar[tuple[str, ...]]
    """The command that runs it in the foreground; the path of its configuration comes last."""

    def __str__(self) -> str:
        return self.name

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve until the end of the block."""
        self.machine.run("rm", "-rf", FOLDER)
        path = f"{FOLDER}/{self.name}.conf"
        self.machine.write(path, self.configuration)
        with running(self.machine, self.name, *self.command, path):
            wait_until_listening(self.machine)
            yield

    @abstractmethod
    def complaints(self) -> list[str]:
        """Return what it holds against the service; nothing if each request was answered by that."""


class Nginx(Proxy):
    """nginx."""

    name = "nginx"
    configuration = NGINX
    command = ("nginx", "-c")

    def complaints(self) -> list[str]:
        """Return its warnings, and what else than 200 came from the service or went to a client."""
        outcomes = set(self.machine.read(f"{FOLDER}/access.log").splitlines())
        return [*self.machine.read(f"{FOLDER}/nginx.log").splitlines(), *(outcomes - {"200 200"})]


class UnixNginx(Nginx):
    """nginx that reaches the service on a Unix socket, and says who the client is."""

    configuration = NGINX.replace("server 127.0.0.1:8000 max", "server unix:/run/app.sock max").replace(
        'Connection "";',
        'Connection "";\n'
        "            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
        "            proxy_set_header X-Forwarded-Proto https;",
    )


class Haproxy(Proxy):
    """HAProxy."""

    name = "haproxy"
    configuration = HAPROXY
    command = ("haproxy", "-db", "-f")
    row: ClassVar[str] = "app"

    def complaints(self) -> list[str]:
        """Return its counters of failures that are not 0.

        Source: HAProxy's management guide, section 9.1: errors of connections and of responses, aborted by
        the server, tried again, sent elsewhere; responses 4xx and 5xx.
        """
        counts = self.counts(self.row)
        failures = ("econ", "eresp", "srv_abrt", "wretr", "wredis", "hrsp_4xx", "hrsp_5xx")
        return [f"{name}={counts[name]}" for name in failures if counts[name] != "0"]

    def counts(self, row: str) -> dict[str, str]:
        """Return its statistics of a server, or of all."""
        lines = self.say("show stat").removeprefix("# ").splitlines()
        return next(each for each in csv.DictReader(lines) if each["svname"] == row)

    def say(self, command: str) -> str:
        """Give it a command of its Runtime API, and return the answer."""
        script = (
            "import socket as s; c = s.socket(s.AF_UNIX); "
            f"c.connect('{FOLDER}/haproxy.sock'); c.sendall(b'{command}\\n'); print(c.makefile().read())"
        )
        return self.machine.run("python3", "-c", script).stdout


class Balancer(Haproxy):
    """HAProxy before several instances, each of which gets its turn."""

    configuration = re.sub(
        "    server .*\n",
        "    balance roundrobin\n"
        + "".join(f"    server app{port} 127.0.0.1:{port}\n" for port in INSTANCES),
        HAPROXY,
    )
    row = "BACKEND"


def wait_until_listening(machine: Machine) -> None:
    port = f":{PROXY_PORT} "
    wait_until(lambda: port in machine.run("ss", "--no-header", "-ltn").stdout)
