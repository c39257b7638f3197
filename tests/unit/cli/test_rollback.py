"""`sockact rollback`: which link it switches, and that it switches back if the reload is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sockact.cli import rollback, service_call
from sockact.errors import UnavailableError, UsageError
from sockact.systemd import systemctl
from sockact.systemd.systemctl import Described, Located

EXEC = "{ path=/opt/sockact ; argv[]=/opt/sockact run --chdir /elsewhere --chdir={link} app:app ; pid=0 }"


class World:
    """A service behind a link, whose answer to a reload is given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.link = folder / "current"
        for name in ("1", "2"):
            (folder / "releases" / name).mkdir(parents=True)
        self.link.symlink_to("releases/2")
        self.properties = {"ExecStart": EXEC.replace("{link}", str(self.link)), "Environment": ""}
        self.answer: dict[str, Any] = {"ok": True, "text": "gen 2 is ready"}
        self.found: list[str] = []
        monkeypatch.setattr(systemctl, "locate", lambda unit, *_, **__: Located(unit, "--system", {}))
        monkeypatch.setattr(systemctl, "describe", self._describe)
        monkeypatch.setattr(service_call, "ask_unit", self._ask)

    def _describe(self, unit: str, *_: str, **__: bool) -> Described:
        return Described(unit, "--system", self.properties, {})

    def _ask(self, *_: object) -> dict[str, Any]:
        self.found.append(os.readlink(self.link))
        if not self.answer:
            raise UnavailableError("the service ended before it answered")
        return self.answer

    def run(self, **more: Any) -> int:
        options: dict[str, Any] = dict.fromkeys(("control", "timeout", "to", "link"))
        return rollback.run("app", **{**options, "user": False, **more})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_the_link_is_switched_before_the_reload(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.run() == 0

    assert world.found == [os.readlink(world.link)] == ["releases/1"]
    said = f"{world.link} leads to releases/1, not to releases/2: gen 2 is ready\n"
    assert capsys.readouterr().out == said


def test_a_refused_reload_switches_it_back(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.answer = {"ok": False, "text": "reload failed: broken"}

    assert world.run() == 1

    assert (world.found, os.readlink(world.link)) == (["releases/1"], "releases/2")
    said = f"reload failed: broken; {world.link} leads to releases/2 again, not to releases/1\n"
    assert capsys.readouterr().err == said


def test_a_service_that_does_not_answer_may_have_reloaded(world: World) -> None:
    world.answer = {}

    with pytest.raises(UnavailableError, match="leads to releases/1 now, but: the service ended"):
        world.run()
    assert os.readlink(world.link) == "releases/1"


def test_the_link_may_stand_in_the_environment_or_be_given(world: World) -> None:
    world.properties = {
        "ExecStart": "/opt/sockact run app:app",
        "Environment": f"SOCKACT_CHDIR={world.link}",
    }
    assert world.run() == 0
    world.properties = {"ExecStart": "", "Environment": ""}
    assert world.run(link=str(world.link), to="2") == 0
    with pytest.raises(UsageError, match="app has no --chdir: expected --link"):
        world.run()
