"""Several machines that serve the same app, behind one with HAProxy and nginx; an operator rolls a release.

Each machine has a network of its own: a pair of veth(4) joins that of each server to that of the front. The
operator's programs, ssh and Ansible, are the host's, and run in the front's network.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sockact.probe.background import BackgroundProbe
from tests.support.machine import partners
from tests.support.machine.load import MANY_FILES
from tests.support.machine.machine import Machine, boot
from tests.support.machine.partners import FOLDER, HAPROXY, NGINX, PROXY_PORT, Haproxy, Nginx
from tests.support.machine.roots import CHECKOUT
from tests.support.machine.service import load_app, wait_until

SERVERS = ("app1", "app2", "app3")
AGENT_PORT = 9100
PORTS = {"HAProxy": PROXY_PORT, "nginx": PROXY_PORT + 1}
ROLL_TIMEOUT = 300.0

SETTINGS = ("--chdir=/opt/app/current", "--probation=0.1s", "--drain-delay=2s")
SETUP = f"""
units/provision app
ln -s releases/1 /opt/app/current
/opt/app/venv/bin/sockact units app:app --name=app --venv=/opt/app/venv {" ".join(SETTINGS)} \\
    --listen=8000 --listen=agent={AGENT_PORT} --install --force
"""
START = """
systemctl daemon-reload
systemctl start ssh.service app.service
"""


def of_server(before: str, line: str, text: str) -> str:
    """Return a proxy's configuration in which the one server is replaced by all of them."""
    lines = [line.format(name=name, address=address(name)) for name in SERVERS]
    return re.sub(r"^ *server [a-z0-9].*\n", before + "".join(lines), text, count=1, flags=re.MULTILINE)


def address(name: str) -> str:
    """Return the address of a server."""
    return f"10.99.{SERVERS.index(name)}.2"


HAPROXY_SERVER = (
    "    server {name} {address}:8000 pool-max-conn -1 pool-purge-delay 1d "
    f"check inter 200ms agent-check agent-port {AGENT_PORT} agent-inter 200ms\n"
)
NGINX_SERVER = "        server {address}:8000 max_fails=0;\n"
CONFIGURATIONS = {
    "HAProxy": of_server("    balance roundrobin\n", HAPROXY_SERVER, HAPROXY),
    "nginx": of_server("", NGINX_SERVER, NGINX).replace(f":{PROXY_PORT} ", f":{PORTS['nginx']} "),
}
COMMANDS = {"HAProxy": Haproxy.command, "nginx": Nginx.command}


class RackHaproxy(Haproxy):
    """HAProxy before all servers."""

    row = "BACKEND"

    def status(self, server: str) -> str:
        """Return the state of a server, as its statistics show it."""
        return self.counts(server)["status"]


@dataclass(frozen=True, slots=True)
class Rack:
    """The machines.

    Attributes:
        front: the one with the proxies.
        servers: those with the app, by name.
        folder: the operator's files.
    """

    front: Machine
    servers: Mapping[str, Machine]
    folder: Path

    def operate(self, *argv: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run an operator's program in the front's network; its output, of both kinds, is `stdout`."""
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        return subprocess.run(
            self.front.network(*map(str, argv)),
            cwd=CHECKOUT,
            env={"PATH": path, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ROLL_TIMEOUT,
            check=False,
        )

    def version(self, name: str) -> str:
        """Ask one server, past the proxies."""
        url = f"http://{address(name)}:8000/"
        script = f"import json, urllib.request as u; print(json.load(u.urlopen({url!r}))['version'])"
        return self.operate(sys.executable, "-c", script).stdout.strip()

    def versions(self) -> list[str]:
        """Ask each server."""
        return [self.version(name) for name in self.servers]

    def links(self) -> list[str]:
        """Return where the link of each server leads."""
        return [each.run("readlink", "/opt/app/current").stdout.strip() for each in self.servers.values()]

    def load(self, proxy: str, *specs: str) -> BackgroundProbe:
        """Run clients of a proxy, all of which have been served once when the `with` block begins."""
        return BackgroundProbe(f"http://127.0.0.1:{PORTS[proxy]}", specs, self.front.network(*MANY_FILES))

    @contextlib.contextmanager
    def proxies(self) -> Iterator[RackHaproxy]:
        """Run both proxies until the end of the block."""
        self.front.run("rm", "-rf", FOLDER)
        with contextlib.ExitStack() as stack:
            for name, configuration in CONFIGURATIONS.items():
                path = f"{FOLDER}/{name}.conf"
                self.front.write(path, configuration)
                stack.enter_context(partners.running(self.front, name.lower(), *COMMANDS[name], path))
            wait_until(self._listen)
            yield RackHaproxy(self.front)

    def _listen(self) -> bool:
        shown = self.front.run("ss", "--no-header", "-ltn").stdout
        return all(f":{port} " in shown for port in PORTS.values())


def release(machine: Machine, version: int, *lines: str) -> None:
    """Put a release into a server; `lines` are added to its code."""
    for name, text in files_of(version, *lines).items():
        machine.write(f"/opt/app/releases/{version}/{name}", text)


def files_of(version: int, *lines: str) -> dict[str, str]:
    """Return the files of a release."""
    return {
        "app.py": load_app(version, *lines),
        "pyproject.toml": f'[tool.sockact]\nversion = "{version}"\n',
    }


@contextlib.contextmanager
def rack(root: Path, folder: Path) -> Iterator[Rack]:
    """Boot all machines, each server with the first release in service."""
    with contextlib.ExitStack() as stack:
        front, *others = (stack.enter_context(boot(root, name)) for name in ("front", *SERVERS))
        servers = dict(zip(SERVERS, others, strict=True))
        for name, machine in servers.items():
            link(front, machine, name)
        key = authorize(servers, folder)
        first, *rest = others
        release(first, 1)
        first.run("sh", "-euc", SETUP, timeout=180)
        for machine in rest:
            copy(first, machine, "opt/app", "etc/systemd/system")
        for machine in others:
            machine.run("sh", "-euc", START)
        write_ssh(folder, key, first)
        yield Rack(front, servers, folder)


def link(front: Machine, machine: Machine, name: str) -> None:
    """Join the network of a server to that of the front."""
    ends = [
        ("name", device, "netns", str(each.leader)) for device, each in ((name, front), ("front", machine))
    ]
    subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True)
    theirs = address(name)
    for each, device, own in ((front, name, theirs[:-1] + "1"), (machine, "front", theirs)):
        each.run("ip", "address", "add", f"{own}/30", "dev", device)
        each.run("ip", "link", "set", device, "up")


def copy(source: Machine, target: Machine, *folders: str) -> None:
    """Copy folders of one machine to another."""
    pack, unpack = source.inside("tar", "-C", "/", "-c", *folders), target.inside("tar", "-C", "/", "-x")
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        subprocess.run(unpack, stdin=packing.stdout, check=True, timeout=180)
    assert packing.returncode == 0


def authorize(servers: Mapping[str, Machine], folder: Path) -> Path:
    """Make a key with which root may log in to the servers, and return its path."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text()
    for machine in servers.values():
        machine.write("/root/.ssh/authorized_keys", public, 0o600)
    return key


def write_ssh(folder: Path, key: Path, server: Machine) -> None:
    """Write what ssh has to know, and a command `ssh` that reads it; the servers have one host key."""
    host_key = server.read("/etc/ssh/ssh_host_ed25519_key.pub")
    known = "".join(f"{address(name)} {host_key}\n" for name in SERVERS)
    (folder / "known_hosts").write_text(known)
    hosts = "".join(f"Host {name}\n  HostName {address(name)}\n" for name in SERVERS)
    options = f"Host *\n  User root\n  IdentityFile {key}\n  UserKnownHostsFile {folder}/known_hosts\n"
    (folder / "ssh_config").write_text(hosts + options)
    (folder / "bin").mkdir()
    command = folder / "bin/ssh"
    command.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
    command.chmod(0o755)
