"""`sockact doctor` finds each of the planted troubles by its name, and nothing where all is well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sockact.check.scope import Scope
from sockact.doctor import facts as collected
from sockact.doctor import visit
from sockact.doctor.facts import PACKAGES, Facts, PythonFacts
from sockact.doctor.remark import LOOKS, Level
from tests.support.unit_cases import BASES, CHECKOUT, findings, write

MIB = 1 << 20
SERVICE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "UnitFileState": "static",
    "NeedDaemonReload": "no",
    "NRestarts": "0",
    "MainPID": "100",
    "ExecMainStatus": "0",
    "NFileDescriptorStore": "4",
    "FileDescriptorStoreMax": "4096",
    "MemoryCurrent": str(200 * MIB),
    "MemoryMax": "infinity",
    "TasksCurrent": "10",
    "TasksMax": "4915",
    "LimitNOFILE": "65536",
}
SOCKET = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "Result": "success",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "Backlog": "4096",
}
WORKER = {"worker": 1, "pid": 101, "phase": "ready", "uptime": 60.0, "connections": 3, "rss": 60 * MIB}
OVERVIEW: Mapping[str, Any] = {
    "pid": 100,
    "reload": {"at": 0.0, "ok": True, "text": "ready"},
    "workers": [WORKER],
}
PYTHON = PythonFacts(
    "/opt/app/venv", "/usr/bin/python3.11", "3.11", dict.fromkeys(("sockact", *PACKAGES), "1")
)


@pytest.fixture
def well(tmp_path: Path) -> Facts:
    """Give the facts of a machine and a service without any trouble."""
    write(tmp_path, BASES["app"])
    return Facts(
        version=252,
        sysctls={
            "net/core/somaxconn": "4096",
            "net/ipv4/tcp_abort_on_overflow": "0",
            "fs/nr_open": "1048576",
            "fs/file-nr": "1000 0 100000",
        },
        available=4096 * MIB,
        free={"/run": 0.9},
        unit=Scope([str(tmp_path)]).unit("app.service"),
        service=SERVICE,
        sockets={"app.socket": SOCKET},
        python=PYTHON,
        overview=OVERVIEW,
        descriptors={100: (20, 65536)},
        kernel="6.1",
    )


def troubles(facts: Facts) -> set[str]:
    groups = visit.remarks(facts, [])
    return {each.name for group in groups.values() for each in group if each.level is Level.TROUBLE}


def test_where_all_is_well_there_is_no_trouble(well: Facts) -> None:
    groups = visit.remarks(well, [])

    assert troubles(well) == set()
    assert not visit.has_trouble(groups)
    assert visit.page(groups, "app").startswith("app: nothing needs a hand\n")


def worker(**changes: object) -> dict[str, object]:
    return {"overview": {**OVERVIEW, "workers": [{**WORKER, **changes}]}}


def service(**changes: str) -> dict[str, object]:
    return {"service": {**SERVICE, **changes}}


def socket(**changes: str) -> dict[str, object]:
    return {"sockets": {"app.socket": {**SOCKET, **changes}}}


def sysctl(name: str, value: str) -> dict[str, object]:
    return {"sysctls": {"net/core/somaxconn": "4096", name: value}}


PLANTED: list[tuple[str, dict[str, object]]] = [
    ("systemd-missing", {"booted": False}),
    ("systemd-silent", {"version": None}),
    ("systemd-old", {"version": 247}),
    ("queue-cut", sysctl("net/core/somaxconn", "128")),
    ("full-queue-resets", sysctl("net/ipv4/tcp_abort_on_overflow", "1")),
    ("files-of-machine", sysctl("fs/file-nr", "95000 0 100000")),
    ("filesystem-full", {"free": {"/run": 0.001}}),
    ("memory-low", {"available": 10 * MIB}),
    ("unit-bad", service(LoadState="bad-setting")),
    ("service-failed", service(ActiveState="failed", SubState="failed", Result="timeout")),
    ("service-does-not-start", service(ActiveState="activating", SubState="auto-restart", NRestarts="9")),
    ("service-does-not-start", service(ActiveState="activating", SubState="start", NRestarts="9")),
    ("service-does-not-start", service(ActiveState="activating", SubState="auto-restart-queued")),
    ("restarts-often", service(NRestarts="7")),
    ("unit-changed", service(NeedDaemonReload="yes")),
    ("unit-changed", socket(NeedDaemonReload="yes")),
    ("unit-changed", {"unread": ["/etc/systemd/system/app.service.d/new.conf"]}),
    ("socket-failed", socket(ActiveState="failed", Result="service-start-limit-hit")),
    ("socket-inactive", socket(ActiveState="inactive")),
    ("socket-masked", socket(LoadState="masked")),
    ("not-enabled", socket(UnitFileState="disabled")),
    ("sockets-changed", {"differences": ["127.0.0.1:8000 is held, and in no socket unit any more"]}),
    ("silent", {"overview": None, "silence": "Connection refused"}),
    ("main-process-differs", {"overview": {**OVERVIEW, "pid": 99}}),
    (
        "reload-refused",
        {"overview": {**OVERVIEW, "reload": {"at": 0.0, "ok": False, "text": "no database"}}},
    ),
    ("no-worker-ready", worker(phase="draining")),
    ("memory-limit", service(MemoryMax=str(210 * MIB))),
    ("memory-limit", {**service(MemoryMax=str(300 * MIB)), **worker(rss=200 * MIB)}),
    ("tasks-limit", service(TasksMax="11")),
    ("descriptors-low", {"descriptors": {101: (1000, 1024)}}),
    ("descriptor-limit-cut", {**service(LimitNOFILE="2000000"), **sysctl("fs/nr_open", "1048576")}),
    ("store-full", service(NFileDescriptorStore="4000")),
    ("interpreter-missing", {"python": replace(PYTHON, interpreter="")}),
    ("interpreter-old", {"python": replace(PYTHON, interpreter="/usr/bin/python3.10", libraries="3.10")}),
    ("interpreter-upgraded", {"python": replace(PYTHON, interpreter="/usr/bin/python3.13")}),
    ("package-missing", {"python": replace(PYTHON, packages={"sockact": "1"})}),
    ("module-for-another-python", {"python": replace(PYTHON, foreign=["httptools.parser"])}),
]


@pytest.mark.parametrize(("name", "changes"), PLANTED, ids=[name for name, _ in PLANTED])
def test_a_planted_trouble_is_found_and_no_other(well: Facts, name: str, changes: dict[str, Any]) -> None:
    ill = replace(well, **changes)

    assert troubles(ill) == {name}
    assert visit.page(visit.remarks(ill, []), "app").startswith("app: 1 thing to look at\n")


def test_a_service_that_does_not_answer_this_user_is_in_no_trouble(well: Facts) -> None:
    refused = replace(well, overview=None, silence="/run/app/sockact.sock: Permission denied")

    assert troubles(refused) == set()
    assert "only root" in visit.page(visit.remarks(refused, []), "app")


def test_every_trouble_is_on_the_page_of_the_command() -> None:
    text = (CHECKOUT / "docs/doctor.md").read_text()

    assert [name for name in LOOKS if f"`{name}`" not in text] == []


def test_a_worker_that_does_not_start_is_found_beside_one_that_serves(well: Facts) -> None:
    slow = {**WORKER, "worker": 2, "phase": "starting", "uptime": 1000.0}

    assert troubles(replace(well, overview={**OVERVIEW, "workers": [WORKER, slow]})) == {
        "worker-does-not-start"
    }


def test_a_missing_bus_matters_only_to_a_service_that_asks_it(well: Facts, tmp_path: Path) -> None:
    assert troubles(replace(well, bus=False, naming=False)) == set()

    unit = "\n".join(
        line for line in BASES["app"]["app.service"].split("\n") if not line.startswith("ExecStop=")
    )
    write(tmp_path / "other", {"app.service": unit})
    asking = Scope([str(tmp_path / "other")]).unit("app.service")
    assert troubles(replace(well, bus=False, unit=asking)) == {"bus-missing"}


def test_each_look_has_a_planted_trouble_and_there_are_25() -> None:
    planted = {name for name, _ in PLANTED} | {"worker-does-not-start", "bus-missing"}

    assert planted == LOOKS.keys()
    assert len(planted) >= 25


def test_the_findings_of_check_are_troubles_unless_they_are_hints(well: Facts, tmp_path: Path) -> None:
    write(tmp_path / "bad", {"app.service": BASES["app"]["app.service"].replace("NonBlocking=yes\n", "")})
    bad, hints = findings(tmp_path / "bad"), findings_of_hints(tmp_path)

    groups = visit.remarks(well, bad)
    assert visit.has_trouble(groups)
    assert "listener-becomes-blocking: " in visit.page(groups, "app")
    assert hints
    assert not visit.has_trouble(visit.remarks(well, hints))


def findings_of_hints(folder: Path) -> Any:
    write(folder / "hints", BASES["gunicorn"])
    return findings(folder / "hints")


def test_newer_systemds_offer_lines_that_the_unit_lacks(well: Facts) -> None:
    def offers(version: int) -> str:
        return visit.page(visit.remarks(replace(well, version=version), []), "app")

    assert "RestartSteps=" not in offers(252)
    assert "RestartSteps=5" in offers(257)
    assert "RestartMode=debug" not in offers(254)
    assert "RestartMode=debug" in offers(257)
    assert "RefreshOnReload=" not in offers(257)
    assert "RefreshOnReload=" in offers(260)


def test_json_has_every_remark(well: Facts) -> None:
    groups = visit.remarks(replace(well, booted=False), [])

    told = json.loads(visit.as_json(groups))

    assert set(told) == {"machine", "Python", "service", "unit"}
    assert {"name", "level", "text", "help"} == set(told["machine"][0])
    assert "systemd-missing" in {each["name"] for each in told["machine"]}


def test_text_of_others_cannot_control_a_terminal(well: Facts) -> None:
    reload = {"at": 0.0, "ok": False, "text": "\x1b]0;owned\x07\nline"}

    page = visit.page(visit.remarks(replace(well, overview={**OVERVIEW, "reload": reload}), []), "a\x1bb")

    assert "\x1b" not in page
    assert "\x07" not in page


# --- The facts


def test_the_facts_of_this_machine_can_be_collected() -> None:
    facts = collected.of_machine()

    assert facts.kernel
    assert facts.available > 0
    assert facts.sysctls["net/core/somaxconn"].isdecimal()


def environment(folder: Path, python: str, libraries: str, *modules: str) -> Scope:
    """Make a virtual environment, and a unit that uses it."""
    venv = folder / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (folder / python).touch()
    (venv / "bin/python3").symlink_to(folder / python)
    (venv / "bin/sockact").write_text(f"#!{venv}/bin/python3\n")
    packages = venv / f"lib/python{libraries}/site-packages"
    for module in modules:
        (packages / module).parent.mkdir(parents=True, exist_ok=True)
        (packages / module).touch()
    (packages / "sockact-0.1.0.dist-info").mkdir(parents=True)
    write(folder / "units", {"app.service": f"[Service]\nExecStart={venv}/bin/sockact run app:app\n"})
    return Scope([str(folder / "units")])


@pytest.mark.parametrize(
    ("python", "libraries", "modules", "expected"),
    [
        ("python3.11", "3.11", ["uvloop/loop.cpython-311-x86_64-linux-gnu.so"], (True, "3.11", ())),
        ("python3.11", "3.11", ["uvloop/loop.abi3.so", "a/b/c.so"], (True, "3.11", ())),
        ("python3.13", "3.11", [], (True, "3.11", ())),
        (
            "python3.13",
            "3.13",
            ["uvloop/loop.cpython-311-x86_64-linux-gnu.so"],
            (True, "3.13", ("uvloop.loop",)),
        ),
    ],
)
def test_a_virtual_environment_is_looked_at_and_not_run(
    tmp_path: Path,
    python: str,
    libraries: str,
    modules: list[str],
    expected: tuple[bool, str, tuple[str, ...]],
) -> None:
    scope = environment(tmp_path, python, libraries, *modules)
    command = scope.unit("app.service").main
    assert command is not None

    found = collected.python_of(command)

    assert found is not None
    assert (found.interpreter.endswith(python), found.libraries, tuple(found.foreign)) == expected
    assert found.packages == {"sockact": "0.1.0"}


def test_an_interpreter_that_is_gone_is_seen(tmp_path: Path) -> None:
    scope = environment(tmp_path, "python3.11", "3.11")
    (tmp_path / "python3.11").unlink()
    command = scope.unit("app.service").main
    assert command is not None

    found = collected.python_of(command)

    assert found is not None
    assert found.interpreter == ""
