"""Machines for tests: `machine` is booted once per release, `app` is one with the example as installed."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.machine.machine import Machine, MachineError, boot, obstacle
from tests.support.machine.roots import CHECKOUT, NEWEST, SUITES, prepare, root_for

PART = 20
"""One round in so many is made unless all are asked for; what is lost is lost in the first ones too."""

IN_TURN = [suite for suite in SUITES if suite != NEWEST]
"""The releases of which each one has a part of the cases of a test that is marked `in_turn`."""

STARTED = pytest.StashKey[float]()


# Of session scope: pytest runs all tests of one release together, and boots one machine for them.
@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest, lacking: Callable[[str], NoReturn]) -> str:
    if reason := obstacle():
        lacking(reason)
    return request.param


@pytest.fixture(scope="session")
def root(suite: str) -> Path:
    """The root of a machine of this release, with the wheels it needs; for tests which boot their own."""
    root = root_for(suite)
    prepare(root, "partners")
    return root


@pytest.fixture(scope="session")
def machine(suite: str, root: Path) -> Iterator[Machine]:
    """A booted machine with the example installed, for all tests of the session: leave it as it was."""
    with boot(root, suite) as machine:
        machine.run(f"{CHECKOUT}/units/provision", "app", timeout=300)
        yield machine


@pytest.fixture
def app(machine: Machine) -> Iterator[Machine]:
    """The machine with the example as it was installed, neither enabled nor started."""
    yield machine
    reset(machine)


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> Callable[..., int]:
    """Return how many of the rounds that a promise asks for are made here: all, or one in `part`."""
    every = pytestconfig.getoption("--all-rounds")
    return lambda asked, part=PART: asked if every else asked // part


# `units/provision app` took most of it: it looks at the whole virtual environment, which stays as it is.
RESET = """
systemctl stop app.socket app.service
[ -z "$(find /etc/systemd/system/*.wants -name 'app.s*')" ] ||
  systemctl disable --quiet --no-reload app.socket app.service
rm -rf /etc/systemd/system/app.socket.d /etc/systemd/system/app.service.d
find /opt/app -mindepth 1 -maxdepth 1 -not -name venv -exec rm -rf {} +
cp -rT units/example /opt/app
install -m 644 units/app.socket units/app.service /etc/systemd/system
systemctl daemon-reload
systemctl reset-failed
"""


def reset(machine: Machine) -> None:
    """Undo what a test did to the example: its processes, its code, its units and their state."""
    machine.run("sh", "-euc", RESET, timeout=180)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not marked for the newest systemd, unless all or one of that is asked for.

    With `--all-suites` also a test that takes turns runs on each of the releases.
    """
    if config.getoption("--all-suites") or any("[" in each for each in config.args):
        return
    left_out = {item for item in items if is_left_out(item)} | set(not_their_turn(items))
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def not_their_turn(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Yield the cases marked `in_turn` that another release has: the first case is for the first one."""
    cases: dict[tuple[str, str], list[str]] = {}
    for item in items:
        if item.get_closest_marker("in_turn") and isinstance(item, pytest.Function):
            suite = item.callspec.params["suite"]
            known = cases.setdefault((item.nodeid.partition("[")[0], suite), [])
            known.append(item.name)
            if suite in IN_TURN and len(known) % len(IN_TURN) != IN_TURN.index(suite):
                yield item


def is_left_out(item: pytest.Item) -> bool:
    """Return whether a test for the newest systemd is not one of the chosen; a mark may name cases."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if parameters.get("suite") != NEWEST:
        return False
    mark = item.get_closest_marker("newest")
    return mark is None or (bool(mark.args) and not any(case in item.name for case in mark.args))


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[STARTED] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what the example and systemd logged during it."""
    report = yield
    machine = getattr(item, "funcargs", {}).get("machine")
    if report.failed and machine:
        try:
            journal = machine.journal("app.service", "app.socket", since=item.stash[STARTED])
        except (MachineError, OSError) as error:
            journal = f"not readable: {error}"
        report.sections.append((f"Journal of app.socket and app.service on {machine.name}", journal))
    return report
