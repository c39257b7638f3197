"""The units that are shipped: what they have in common, and what none of them does."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from sockact.units.wanted import OF_THE_LOADER
from sockact.units.writing import shipped
from tests.support.manager import CHECKOUT


def options(name: str) -> list[str]:
    """Return the lines of a unit that mean something to systemd, but for its description."""
    lines = (CHECKOUT / "units" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "Description="))]


@pytest.mark.parametrize("suffix", ["service", "socket"])
def test_an_instance_is_like_the_only_one(suffix: str) -> None:
    expected = [line.replace("127.0.0.1:8000", "127.0.0.1:%i") for line in options(f"app.{suffix}")]

    assert options(f"app@.{suffix}") == expected


def test_the_files_are_what_the_code_writes() -> None:
    """`python -m sockact.units units` makes them anew."""
    for name, content in shipped().items():
        assert (CHECKOUT / "units" / name).read_text() == content, name
    assert set(shipped()) == set(SHIPPED)


def values(name: str, option: str) -> Sequence[str]:
    return [line.partition("=")[2] for line in options(name) if line.startswith(f"{option}=")]


def test_a_certificate_is_passed_on_before_the_reload_that_the_service_has_without_tls() -> None:
    _, first, last = values("app-tls.conf", "ExecReload")

    assert first.startswith("+/usr/bin/env -i ")
    assert [last] == values("app.service", "ExecReload")


NOT_IN_DEPLOY = {
    "DynamicUser=yes",  # root, whom systemd obeys
    "PrivateUsers=yes",  # in which root may not read what is another's
    "CapabilityBoundingSet=",  # CAP_DAC_READ_SEARCH
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",  # AF_UNIX
    "RemoveIPC=yes",  # for users that come and go
}


def test_what_reloads_the_service_has_its_sandbox_but_for_what_root_needs() -> None:
    lines = options("app.service")
    sandbox = set(lines[lines.index("DynamicUser=yes") :])

    assert sandbox - set(options("app-deploy.service")) == NOT_IN_DEPLOY


SHIPPED = sorted(
    file.name
    for file in (CHECKOUT / "units").iterdir()
    if file.suffix in (".service", ".socket", ".path", ".conf")
)


@pytest.mark.parametrize("name", ["app.service", "app@.service"])
def test_what_root_runs_is_not_loaded_with_what_others_name(name: str) -> None:
    unset = [word for value in values(name, "UnsetEnvironment") for word in value.split()]

    assert set(unset) == set(OF_THE_LOADER)


@pytest.mark.parametrize("name", SHIPPED)
def test_root_runs_and_writes_nothing_in_the_folders_of_others(name: str) -> None:
    """A program that runs as root, by a + or ! or for want of a user, is the system's."""
    text = (CHECKOUT / "units" / name).read_text().replace("\\\n", " ")
    as_root = re.findall(r"^#?(Exec\w+=[-@:]*[+!].*)$", text, re.MULTILINE)
    if name.endswith(".service") and "\nDynamicUser=yes\n" not in text:
        as_root += re.findall(r"^#?(Exec\w+=.*)$", text, re.MULTILINE)

    for command in as_root:
        assert re.match(r"\w+=[-@:+!]*/(usr/)?(local/)?s?bin/", command), command
        # A shell looks for programs in the PATH that the unit gives the app.
        assert (
            command.startswith("ExecStart=/usr/local/sbin/") or "sh -" not in command or " -i " in command
        )
        assert not re.search(r"/opt/\S+/venv|/run/(app|%[Np])/", command)
        if "DynamicUser" in text or name.endswith(".conf"):  # else it is root's
            known = (
                " RUNTIME_DIRECTORY=${RUNTIME_DIRECTORY} ",
                '--reference="$${RUNTIME_DIRECTORY%%%%:*}"',
            )
            assert "RUNTIME_DIRECTORY" not in command.replace(known[0], "").replace(known[1], "")
