"""Each how-to, from its first line to its last, as root types it on a fresh machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.how_to import Commands, Content, missing, script, steps
from tests.support.machine.machine import Machine, boot
from tests.support.machine.roots import CHECKOUT, prepare, root_for
from tests.support.machine.service import wheels

PAGES = sorted(path for path in (CHECKOUT / "docs/how-to").glob("*.md") if path.name != "index.md")
INSTALLED = "/path/to/sockact"
"""Stands in the pages for the project, which the tests install from a wheel: a machine has no network."""

LIMIT = 600.0
RUN = """
cd "$(cat /run/how-to 2>/dev/null || echo /root)"
{}
pwd >/run/how-to
"""


@pytest.fixture(scope="session")
def prepared(suite: str) -> Path:
    """Return a root with all packages that the pages install, and with wheels."""
    root = root_for(suite)
    prepare(root, "howto", "frameworks")
    return root


@pytest.fixture
def fresh(suite: str, prepared: Path) -> Iterator[Machine]:
    """Boot a machine on which nothing was done before."""
    with boot(prepared, f"{suite}-how-to") as machine:
        # What is there already stays as it is: an upgrade needs a network. As `apt install --no-upgrade`.
        machine.write("/etc/apt/apt.conf.d/90-no-upgrade", 'APT::Get::Upgrade "false";\n')
        yield machine


def environment(machine: Machine) -> dict[str, str]:
    """Return the variables by which pip finds packages without a network."""
    found = wheels(machine)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{found} {found}/frameworks"}


@pytest.mark.in_turn
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_do_what_it_says(fresh: Machine, page: Path) -> None:
    variables = environment(fresh)
    for step in steps(page.read_text()):
        if isinstance(step, Content):
            fresh.write(step.path, step.text)
        else:
            run(fresh, step, variables)


def run(machine: Machine, commands: Commands, variables: dict[str, str]) -> None:
    text = RUN.format(script(commands)).replace(INSTALLED, "sockact")
    done = machine.run("bash", "-euc", f"exec 2>&1\n{text}", env=variables, timeout=LIMIT, check=False)
    said = f"{commands.script}\n{done.stdout}"
    print(said)
    assert done.returncode == 0, said + machine.run("journalctl", "--no-pager", "-n60", check=False).stdout
    assert missing(commands.expected, done.stdout) == [], said
