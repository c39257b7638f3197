"""Servers as services of systemd, each as its own documentation says, on one machine and with equal apps.

A server that takes systemd's sockets gets one; the others bind theirs. Two processes serve, in threads
where the interface is WSGI or Rack. What a documentation does not say is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.machine.machine import Machine

APPS = Path(__file__).with_name("apps")
BIN = "/opt/servers/bin"
HANGUP = "/bin/kill -s HUP $MAINPID"
UNITS = "/etc/systemd/system"
WORKERS = 2
THREADS = 32
"""Of each process: uWSGI and Puma keep one for each kept connection, and the others would wait."""

BROKEN = "\n)}; this is no release\n"
"""What follows a release that cannot be loaded, in any of the languages."""

INSTALL = """
umask 022
units/provision app
house=.wheels/$(python3 -c 'import sys; print("cp%d%d" % sys.version_info[:2])')/servers
python3 -m venv /opt/servers
/opt/servers/bin/pip install --quiet --no-index --find-links "$house" {names}
"""
WHEELS = ("gunicorn", "uvicorn", "uvicorn-worker", "httptools", "uvloop", "granian", "hypercorn", "uwsgi")

SOCKET = """[Socket]
ListenStream=127.0.0.1:{port}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is measured.

    Attributes:
        name: of it in the tables.
        unit: the name of its unit, without suffix; its release is in /opt/<unit>.
        port: of its listening socket.
        app: the file in `APPS` with its app.
        file: the name that its app has in its folder.
        service: its unit's section `[Service]`; None for one that is installed already.
        socket: its socket's section `[Socket]`; None if it binds its socket itself.
        settings: further files in its folder, by name.
        options: of sockact's command.
    """

    name: str
    unit: str
    port: int
    app: str
    file: str
    service: str | None = None
    socket: str | None = SOCKET
    settings: Mapping[str, str] = field(default_factory=dict)
    options: str = ""

    @property
    def path(self) -> str:
        """The path of its release."""
        return f"/opt/{self.unit}/{self.file}"

    def release(self, machine: Machine, version: str, *, broken: bool = False) -> None:
        """Put a release in place."""
        text = (APPS / self.app).read_text()
        for before in ('VERSION = "1"', 'default "1"'):  # of Python and Ruby; of nginx
            text = text.replace(before, before.replace("1", version))
        machine.write(self.path, text + BROKEN * broken)

    def install(self, machine: Machine, workers: int = WORKERS) -> None:
        """Write its units and its first release."""
        self.release(machine, "0")
        values = {
            "port": self.port,
            "bin": BIN,
            "threads": THREADS,
            "workers": workers,
            "options": self.options,
            "folder": f"/opt/{self.unit}",
        }
        for path, text in self.files().items():
            machine.write(path, text.format(**values))
        machine.run("systemctl", "daemon-reload")

    def files(self) -> Mapping[str, str]:
        """Return its files besides the release by path, with values to be put in."""
        settings = {f"/opt/{self.unit}/{name}": text for name, text in self.settings.items()}
        if self.service is None:
            return settings | {f"{UNITS}/{self.unit}.service.d/bench.conf": SOCKACT}
        if self.socket is None:
            return settings | {f"{UNITS}/{self.unit}.service": self.service}
        after = f"[Unit]\nRequires={self.unit}.socket\nAfter={self.unit}.socket\n"
        return settings | {
            f"{UNITS}/{self.unit}.service": after + self.service,
            f"{UNITS}/{self.unit}.socket": self.socket,
        }

    def start(self, machine: Machine) -> None:
        """Start it, with its socket."""
        machine.run("systemctl", "start", *self.units())

    def stop(self, machine: Machine) -> None:
        """Stop it, with its socket."""
        machine.run("systemctl", "stop", *self.units())

    def units(self) -> list[str]:
        """Return the names of its units."""
        return [f"{self.unit}.socket"] * bool(self.socket) + [f"{self.unit}.service"]


def asgi(name: str, port: int, service: str, socket: str | None = SOCKET) -> Server:
    """Return a server of the ASGI app."""
    return Server(name, unit_of(name), port, "deployed_asgi.py", "app.py", service, socket)


def wsgi(name: str, port: int, service: str, **settings: str) -> Server:
    """Return a server of the WSGI app."""
    app = "deployed_wsgi.py"
    return Server(name, unit_of(name), port, app, "app.py", service, settings=settings)


def unit_of(name: str) -> str:
    """Return the name of a unit."""
    return name.lower().replace(" ", "-")


# units/app.service
SOCKACT = """[Service]
ExecStart=
ExecStart=/opt/app/venv/bin/sockact run --chdir={folder} --workers={workers} {options} app:app
"""
# https://docs.gunicorn.org/en/stable/deploy.html#systemd, without its user
GUNICORN = """[Service]
Type=notify
NotifyAccess=main
WorkingDirectory={{folder}}
ExecStart={{bin}}/gunicorn --workers {{workers}} {} app:app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
TimeoutStopSec=5
PrivateTmp=true
"""
# Without a unit in their documentation: uvicorn, hypercorn, granian. Their signals stand there.
PLAIN = """[Service]
Type=exec
WorkingDirectory={{folder}}
ExecStart={{bin}}/{}
ExecReload=/bin/kill -s HUP $MAINPID
"""
# https://uwsgi-docs.readthedocs.io/en/latest/Systemd.html
UWSGI = """[Service]
Type=notify
NotifyAccess=all
WorkingDirectory={{folder}}
ExecStart={{bin}}/uwsgi --master --processes {{workers}} --threads {{threads}} --module app:app {}
ExecReload={}
Restart=on-failure
KillSignal=SIGQUIT
"""
# https://github.com/puma/puma/blob/v6.6.0/docs/systemd.md
PUMA = """[Service]
Type=notify
WatchdogSec=10
WorkingDirectory={folder}
ExecStart=/usr/bin/puma -e production -b tcp://127.0.0.1:{port} -C puma.rb config.ru
ExecReload=/bin/kill -s USR1 $MAINPID
Restart=always
"""
PUMA_SOCKET = SOCKET + "NoDelay=true\nReusePort=true\nBacklog=1024\n"
# A phased restart needs it: workers load the app by themselves then.
PUMA_SETTINGS = {"puma.rb": "workers {workers}\nthreads {threads}, {threads}\npreload_app! false\n"}
# Debian's nginx.service, with another configuration
NGINX = """[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStartPre=/usr/sbin/nginx -t -q -c {folder}/nginx.conf -g 'daemon on; master_process on;'
ExecStart=/usr/sbin/nginx -c {folder}/nginx.conf -g 'daemon on; master_process on;'
ExecReload=/usr/sbin/nginx -c {folder}/nginx.conf -g 'daemon on; master_process on;' -s reload
ExecStop=-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5 --pidfile /run/nginx.pid
TimeoutStopSec=5
KillMode=mixed
"""

NGINX_SETTINGS = {"workers.conf": "worker_processes {workers};\n"}

DEFAULT = Server("sockact", "app", 8000, "deployed_asgi.py", "app.py")
SERVERS = (
    DEFAULT,
    wsgi("gunicorn gthread", 8001, GUNICORN.format(f"--worker-class gthread --threads {THREADS}")),
    asgi("gunicorn asgi", 8002, GUNICORN.format("--worker-class asgi")),
    asgi("gunicorn uvicorn", 8003, GUNICORN.format("--worker-class uvicorn_worker.UvicornWorker")),
    asgi("uvicorn", 8004, PLAIN.format("uvicorn --workers {workers} --fd 3 app:app")),
    asgi("hypercorn", 8005, PLAIN.format("hypercorn --workers {workers} --bind fd://3 app:app")),
    asgi(
        "granian",
        8006,
        PLAIN.format("granian --interface asgi --workers {workers} --port {port} app:app"),
        None,
    ),
    wsgi("uWSGI", 8007, UWSGI.format("--protocol http11", HANGUP)),
    wsgi(
        "uWSGI chain",
        8008,
        UWSGI.format(
            "--protocol http11 --lazy-apps --touch-chain-reload reload", "/bin/touch {folder}/reload"
        ),
        reload="",
    ),
    Server("Puma", "puma", 8009, "deployed.ru", "config.ru", PUMA, PUMA_SOCKET, PUMA_SETTINGS),
    Server("nginx", "nginx", 8010, "deployed_nginx.conf", "nginx.conf", NGINX, None, NGINX_SETTINGS),
)


def install_all(machine: Machine) -> None:
    """Install and start all servers."""
    machine.run("sh", "-euc", INSTALL.format(names=" ".join(WHEELS)), timeout=300)
    for server in SERVERS:
        server.install(machine)
        server.start(machine)


def versions(machine: Machine) -> str:
    """Return the versions of all servers."""
    script = (
        "/usr/bin/python3 --version | sed 's/ /==/'; "
        f"{BIN}/pip list --format=freeze | grep -iE '^({'|'.join(WHEELS)})=='; "
        "puma --version | sed 's/ version /==/'; nginx -v 2>&1 | sed 's/.*nginx./nginx==/'"
    )
    lines = machine.run("sh", "-c", script).stdout.split()
    return ", ".join(line.replace("==", " ") for line in lines)
