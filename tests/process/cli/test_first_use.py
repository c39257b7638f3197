"""`sockact run` as somebody types it who has never seen it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.gate import install
from tests.support.service import MODES, Service
from tests.support.terminal import on_terminal

FOUND = "sockact: found app:app: sockact run app:app\n"


@MODES
@pytest.mark.parametrize("words", [(), ("app",), ("app.py",), ("./app.py:app",)])
def test_an_app_is_found_and_the_command_is_told(
    service: Service, mode: tuple[str, ...], words: tuple[str, ...]
) -> None:
    install(service.directory)
    command = [sys.executable, "-m", "sockact", "run", *mode, *words]
    service.manager.start(command, [service.listener], SOCKACT_CHDIR=str(service.directory))
    service.manager.wait_ready()

    assert service.client().get().status == 200
    assert service.manager.stderr().count(FOUND) == 1


def test_a_command_that_is_complete_is_not_told(service: Service) -> None:
    service.start()

    assert "sockact: found" not in service.manager.stderr()


def test_a_factory_is_found_and_called(service: Service) -> None:
    install(service.directory)
    (service.directory / "app.py").rename(service.directory / "gated.py")
    source = "def create_app():\n    import gated\n    return gated.app\n"
    (service.directory / "main.py").write_text(source)
    command = [sys.executable, "-m", "sockact", "run", f"--chdir={service.directory}"]
    service.manager.start(command, [service.listener])
    service.manager.wait_ready()

    assert service.client().get().status == 200
    said = "sockact: found main:create_app: sockact run --factory main:create_app"
    assert said in service.manager.stderr()


APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
"""


@MODES
def test_a_terminal_shows_where_to_click_and_ctrl_c_ends_it(tmp_path: Path, mode: tuple[str, ...]) -> None:
    (tmp_path / "main.py").write_text(APP)
    with on_terminal(tmp_path, "run", *(mode or ("--workers=0",)), "--listen=127.0.0.1:0") as terminal:
        terminal.wait_for("is ready")
        assert "(http://127.0.0.1:" in terminal.shown
        assert "Ctrl-C stops it" in terminal.shown
        assert "INFO" not in terminal.shown

        terminal.type("\x03")

        assert terminal.wait_exit() == 0


@pytest.mark.parametrize(
    ("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_an_error_is_coloured_on_a_terminal_that_can(
    tmp_path: Path, environ: dict[str, str], coloured: bool
) -> None:
    with on_terminal(tmp_path, "run", "--workers=x", "app:app", **environ) as terminal:
        assert terminal.wait_exit() == 78

    assert "ERROR: workers='x': expected a whole number" in terminal.shown
    assert ("\x1b[31m" in terminal.shown) == coloured


def test_help_begins_with_the_common_options_and_has_examples(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "--help", COLUMNS="90") as terminal:
        assert terminal.wait_exit() == 0

    shown = terminal.shown.replace("\r\n", "\n")
    assert shown.startswith("usage: sockact run [OPTION...] [[NAME=]MODULE:ATTRIBUTE...]\n")
    assert shown.index("--workers") < shown.index("Sockets:")
    assert "examples:\n  sockact run " in shown
    assert max(map(len, shown.splitlines())) <= 90
