"""The Debian package: built, looked at by lintian, installed, used as docs/packages.md says, removed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine.load import assert_nothing_lost, load
from tests.support.machine.machine import Machine, boot
from tests.support.machine.roots import CHECKOUT, prepare, run_in
from tests.support.machine.service import get, load_app, tell, wait_until

KINDS = ("one-shot:2@20", "persistent:4@10", "websocket:2@5", "stream:2@0.4")
LIBRARIES = ("httptools", "sdnotify", "systemd", "uvloop", "websockets")
APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "--yes", "--no-download")
ARCHIVES = "/var/cache/apt/archives"
SERVICE, SOCKET = "sockact@shop.service", "sockact@shop.socket"
PAGE = (CHECKOUT / "docs/packages.md").read_text()
PORT, IN_VENV = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
QUICK = "SOCKACT_PROBATION=0.1s\nSOCKACT_WORKERS=2\n"


@pytest.fixture(scope="session")
def package(suite: str, root: Path) -> Path:
    """The package, built in this release, beside those of Debian that it depends on."""
    folder = CHECKOUT / ".packages" / suite
    shutil.rmtree(folder, ignore_errors=True)
    prepare(root, "package")
    run_in(root, str(CHECKOUT / "units/package"), str(folder), "debian")
    (folder / "partial").mkdir()
    options = ("-qq", "--yes", "--download-only", "--reinstall", "-o", f"Dir::Cache::archives={folder}")
    run_in(
        root,
        "apt-get",
        *options,
        "install",
        *(f"python3-{name}" for name in LIBRARIES if name != "httptools"),
    )
    (found,) = folder.glob("sockact_*.deb")
    return found


@pytest.fixture(scope="session")
def bare(suite: str, root: Path, package: Path) -> Iterator[Machine]:
    """A machine of its own without any of the libraries, which has the package's file and no network."""
    with boot(root, f"{suite}-package") as machine:
        apt(machine, "purge", *(f"python3-{name}" for name in LIBRARIES))
        machine.run("sh", "-c", f"cp {package.parent}/*.deb {ARCHIVES}")
        yield machine


@pytest.fixture
def installed(bare: Machine, package: Path) -> Iterator[Machine]:
    """The machine with the package installed, and without an app."""
    apt(bare, "install", f"{ARCHIVES}/{package.name}")
    yield bare
    bare.run("sh", "-c", f"systemctl disable --now {SOCKET}; systemctl stop {SERVICE}; :")
    bare.run("sh", "-c", "rm -rf /opt/shop /etc/sockact /etc/systemd/system/sockact@shop.*")
    bare.run("systemctl", "daemon-reload")


def apt(machine: Machine, *words: str) -> str:
    done = machine.run(*APT, *words, timeout=300)
    return done.stdout + done.stderr


def release(machine: Machine, version: int, *lines: str) -> None:
    machine.write("/opt/shop/app.py", load_app(version, *lines))


def typed(machine: Machine, line: str) -> None:
    """Run a command that the page has."""
    assert f"    {line}\n" in PAGE
    machine.run(*line.split())


def serve(machine: Machine, *lines: str) -> None:
    """Start an app as the page says."""
    release(machine, 1, *lines)
    machine.write("/etc/sockact/shop.env", QUICK)
    machine.write(f"/etc/systemd/system/{SOCKET}.d/override.conf", PORT)
    machine.run("systemctl", "daemon-reload")
    typed(machine, "systemctl enable --now sockact@shop.socket")
    wait_until(lambda: get(machine)["version"] == "1")
    # Until then a reload is merged into the start that goes on (systemd.unit(5) says so of jobs).
    wait_until(lambda: machine.show(SERVICE, "ActiveState")["ActiveState"] == "active")


def main_pid(machine: Machine) -> str:
    return machine.show(SERVICE, "MainPID")["MainPID"]


def left(machine: Machine) -> list[str]:
    """Return what the machine has that is called as the package, but for the file of the package itself."""
    found = machine.run("find", "/etc", "/usr", "/var", "/run", "-xdev", "-name", "*sockact*").stdout
    # That of tests/support/machine/roots.py is the root's own.
    own = (ARCHIVES, f"{CHECKOUT}/", "/etc/apt/apt.conf.d/90sockact")
    return [path for path in found.split() if not path.startswith(own)]


def test_lintian_finds_nothing(root: Path, package: Path) -> None:
    (changes,) = package.parent.glob("*.changes")

    # Who builds it has no address that the package could name.
    options = (
        "--allow-root",
        "--display-info",
        "--suppress-tags",
        "bogus-mail-host,bogus-mail-host-in-debian-changelog",
    )
    assert run_in(root, "lintian", *options, str(changes)) == ""


def test_an_app_is_served_reloaded_restarted_and_upgraded_under_load(
    installed: Machine, package: Path
) -> None:
    serve(installed)
    with load(installed, *KINDS) as probe:
        release(installed, 2)
        typed(installed, "systemctl reload sockact@shop")
        assert get(installed)["version"] == "2"
        pid = main_pid(installed)
        apt(installed, "install", "--reinstall", f"{ARCHIVES}/{package.name}")
        assert main_pid(installed) == pid
        release(installed, 3)
        installed.run("systemctl", "restart", SERVICE)
        assert get(installed)["version"] == "3"
        assert main_pid(installed) != pid
        report = probe.report()
    tell("package", installed, report)
    assert_nothing_lost(report)


def test_a_purge_leaves_nothing(installed: Machine) -> None:
    serve(installed)
    apt(installed, "purge", "sockact")

    assert installed.show(SERVICE, "ActiveState") == {"ActiveState": "inactive"}
    assert [
        path
        for path in left(installed)
        if not path.startswith(("/etc/sockact", "/etc/systemd/system/sockact@shop"))
    ] == []


def test_a_removed_instance_is_seen_by_the_search(installed: Machine) -> None:
    """The search above can find what is left."""
    assert "/usr/bin/sockact" in left(installed)


def test_an_app_in_a_virtual_environment_has_its_own_libraries(installed: Machine) -> None:
    typed(installed, "/usr/bin/python3 -m venv --system-site-packages /opt/shop/venv")
    (packages,) = installed.run("sh", "-c", "echo /opt/shop/venv/lib/python3*/site-packages").stdout.split()
    installed.write(f"{packages}/own.py", "NAME = 'own'\n")
    installed.write(f"/etc/systemd/system/{SERVICE}.d/override.conf", IN_VENV)
    serve(installed, "import own")

    release(installed, 2, "import own")
    installed.run("systemctl", "reload", SERVICE)
    assert get(installed)["version"] == "2"


def test_libraries_that_debian_has_too_old_are_for_sockact_alone(installed: Machine) -> None:
    def version(*first: str) -> tuple[str, str]:
        lines = ["import importlib.util as u", *first, "print(u.find_spec('httptools').origin)"]
        done = installed.run("python3", "-I", "-c", "\n".join(lines), check=False)
        return done.stdout, done.stderr

    assert "/sockact/bundled/httptools/" in version("import sockact")[0]
    assert "AttributeError" in version()[1]  # it has none


def test_its_completions_and_manual_pages_are_where_the_shells_and_man_look(
    package: Path, root: Path
) -> None:
    listed = run_in(root, "dpkg-deb", "--contents", str(package))

    for path in (
        "usr/share/bash-completion/completions/sockact",
        "usr/share/zsh/vendor-completions/_sockact",
        "usr/share/man/man1/sockact.1.gz",
        "usr/share/man/man1/sockact-run.1.gz",
        "usr/share/man/man7/sockact.units.7.gz",
    ):
        assert re.search(rf" \./{re.escape(path)}$", listed, re.MULTILINE), path
