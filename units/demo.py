"""The demonstration that `units/demo` runs, as root on a machine whose PID 1 is systemd.

It installs units/app.socket and units/app.service under another name, lets the first connection start the
service, and counts the requests that are lost in restarts and reloads, by clients that never repeat one.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sockact.probe.background import BackgroundProbe

NAME = "sockact-demo"
SERVICE = f"{NAME}.service"
SOCKET = f"{NAME}.socket"
UNITS = Path("/run/systemd/system")
FOLDER = Path("/opt") / NAME
PROVISION = Path(__file__).with_name("provision")
ROUNDS = 20
KEPT = 8
CLIENTS = ("one-shot:4@50", f"persistent:{KEPT}@50")


def main() -> int:
    version = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True).stdout
    print(f"demo: {' '.join(version.split()[:2])}")
    with installed() as url:
        begin = time.monotonic()
        first = ask(url)
        took = time.monotonic() - begin
        print(f"demo: the first connection has started the service: {first}, answered after {took:.2f} s")
        restarts = measure(url, "restart")
        reloads = measure(url, "reload")
    print(table(restarts, reloads))
    lost = restarts["lost"] + reloads["lost"]
    print("demo: not one request was lost" if not lost else f"demo: {lost} requests were lost")
    return 1 if lost else 0


@contextmanager
def installed() -> Iterator[str]:
    """Install and start the socket, and yield its URL; remove everything afterwards."""
    if FOLDER.exists():
        remove()  # an earlier run was killed
    try:
        subprocess.run([PROVISION, "app"], env={**os.environ, "APP": NAME, "UNITS": str(UNITS)}, check=True)
        port = free_port()
        unit = UNITS / SOCKET
        unit.write_text(unit.read_text().replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
        systemctl("daemon-reload")
        systemctl("start", SOCKET)
        print(f"demo: {SOCKET} listens on 127.0.0.1:{port}; {SERVICE} is {show('ActiveState')}")
        yield f"http://127.0.0.1:{port}/"
    finally:
        remove()


def remove() -> None:
    subprocess.run(["systemctl", "stop", SOCKET, SERVICE], check=False, capture_output=True)
    for unit in (SOCKET, SERVICE):
        (UNITS / unit).unlink(missing_ok=True)
    systemctl("daemon-reload")
    subprocess.run(["systemctl", "reset-failed", SERVICE], check=False, capture_output=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


def measure(url: str, verb: str) -> dict[str, Any]:
    """Restart or reload under load, each time with new code; return the probe's report and more."""
    before = {"pid": show("MainPID"), "version": ask(url)["version"]}
    print(f"demo: {ROUNDS} times `systemctl {verb} {NAME}` with new code, under {' and '.join(CLIENTS)}")
    with BackgroundProbe(url, CLIENTS) as probe:
        for _ in range(ROUNDS):
            deploy()
            systemctl(verb, SERVICE)
        report = probe.report()
    return {
        **report,
        "verb": verb,
        "before": before,
        "pid": show("MainPID"),
        "version": ask(url)["version"],
    }


def deploy() -> None:
    """Increase the app's version by one, in its source."""
    code = FOLDER / "app.py"
    text = code.read_text()
    version = int(text.split('VERSION = "', 1)[1].split('"', 1)[0])
    new = code.with_suffix(".new")
    new.write_text(text.replace(f'VERSION = "{version}"', f'VERSION = "{version + 1}"'))
    new.rename(code)


def table(*reports: dict[str, Any]) -> str:
    """Return the reports as a table, side by side."""
    rows = [("", *(f"{ROUNDS} x {report['verb']}" for report in reports))]
    rows.append(("requests", *(f"{report['requests']:,}" for report in reports)))
    rows.append(("failures", *(str(report["lost"]) for report in reports)))
    rows += [
        (f"  {outcome}", *(str(report["total"]["outcomes"][outcome]) for report in reports))
        for outcome in ("refused", "reset", "empty", "wrong", "timeout")
    ]
    rows.append(("persistent clients", *(str(KEPT) for _ in reports)))
    opened = (str(report["loads"][CLIENTS[1]]["connections"]) for report in reports)
    rows.append(("their connections", *opened))
    rows.append(("longest stall", *(f"{report['total']['stall']:.2f} s" for report in reports)))
    rows.append(("main PID before", *(report["before"]["pid"] for report in reports)))
    rows.append(("main PID after", *(report["pid"] for report in reports)))
    rows.append(("version before", *(report["before"]["version"] for report in reports)))
    rows.append(("version after", *(report["version"] for report in reports)))
    return "\n".join(f"{row[0]:<18}" + "".join(f"{cell:>16}" for cell in row[1:]) for row in rows)


def ask(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def show(name: str) -> str:
    command = ["systemctl", "show", "--value", f"--property={name}", SERVICE]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], check=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
