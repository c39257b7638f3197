"""`sockact status UNIT`: which manager is asked for it, and what is said of units that are no services."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import ask, run
from tests.support.service import Service

# As systemctl 252 answers: for a unit that it does not know all the same, and without MainPID for those
# that have no process.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$0.asked"
for unit; do :; done
scope=$3
if test -e "$0.down$scope"; then
    cat "$0.down$scope" >&2
    exit 1
fi
case $unit in *.service) process='MainPID=0
' ;; esac
cat "$0$scope.$unit" 2>/dev/null ||
    printf 'Id=%s\\nLoadState=not-found\\n%sRuntimeDirectory=\\nTriggers=\\n' "$unit" "$process"
"""
NO_SYSTEM = """System has not been booted with systemd as init system (PID 1). Can't operate.
Failed to connect to bus: Host is down
"""
NO_USER = "Failed to connect to bus: No medium found\n"


class Managers:
    """The answers of systemctl for the system, and for the user."""

    def __init__(self, directory: Path) -> None:
        self._tool = directory / "bin" / "systemctl"
        self._tool.parent.mkdir()
        self._tool.write_text(SYSTEMCTL)
        self._tool.chmod(0o755)
        self.path = f"{self._tool.parent}:{os.environ['PATH']}"

    def knows(self, scope: str, unit: str, **properties: str) -> None:
        lines = {"Id": unit, "LoadState": "loaded", "Triggers": "", "TriggeredBy": "", **properties}
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        Path(f"{self._tool}--{scope}.{unit}").write_text(text)

    def is_down(self, scope: str, complaint: str) -> None:
        Path(f"{self._tool}.down--{scope}").write_text(complaint)

    def asked(self) -> list[str]:
        path = Path(f"{self._tool}.asked")
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Managers:
    managers = Managers(tmp_path)
    monkeypatch.setenv("PATH", managers.path)
    return managers


def serve(service: Service, managers: Managers, scope: str) -> dict[str, str]:
    """Start a service as a unit of a manager, and return what the environment of the caller is."""
    runtime = service.directory / "run"
    (runtime / "app").mkdir(parents=True)
    pid = service.start("--workers=1", RUNTIME_DIRECTORY=str(runtime / "app"))
    managers.knows(scope, "app.service", MainPID=str(pid), RuntimeDirectory="app")
    return {"PATH": managers.path, "XDG_RUNTIME_DIR": str(runtime), "MAINPID": "", "RUNTIME_DIRECTORY": ""}


@pytest.mark.parametrize("words", [["app"], ["app.service"], ["app", "--user"], ["--user", "app.service"]])
def test_a_service_of_the_users_manager_is_found(
    service: Service, managers: Managers, words: list[str]
) -> None:
    environ = serve(service, managers, "user")

    done = ask(service, *words, **environ)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("active: gen 1")
    scopes = {line.split()[2] for line in managers.asked()}
    assert scopes == ({"--user"} if "--user" in words else {"--system", "--user"})
    assert managers.asked()[-1].startswith("show --property=TriggeredBy --user")


@pytest.mark.parametrize("complaint", [NO_SYSTEM, ""])
def test_it_is_found_where_the_system_has_no_manager(
    service: Service, managers: Managers, complaint: str
) -> None:
    environ = serve(service, managers, "user")
    managers.is_down("system", complaint)

    assert ask(service, "app", **environ).stdout.startswith("active: gen 1")


def test_the_runtime_folder_of_a_user_is_known_without_a_variable(
    managers: Managers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    managers.knows("user", "app.service", MainPID="1", RuntimeDirectory="no-such-app")

    status, _, err = run(capsys, "status", "app")

    assert status == 69
    assert f"/run/user/{os.getuid()}/no-such-app/" in err


def test_what_the_system_knows_is_not_asked_of_the_user(
    managers: Managers, capsys: pytest.CaptureFixture[str]
) -> None:
    managers.knows("system", "app.service", MainPID="0", RuntimeDirectory="app")
    managers.knows("user", "app.service", MainPID="1", RuntimeDirectory="app")

    status, _, err = run(capsys, "status", "app")

    assert (status, err) == (69, "sockact: unit app has no main process: it is not running\n")
    assert {line.split()[2] for line in managers.asked()} == {"--system"}


@pytest.mark.parametrize("verb", ["status", "reload"])
def test_a_unit_that_no_manager_knows_is_not_found(
    managers: Managers, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert run(capsys, verb, "app") == (64, "", "sockact: unit app is not-found\n")
    assert run(capsys, verb, "app", "--user") == (64, "", "sockact: unit app is not-found\n")
    managers.is_down("user", NO_USER)
    assert run(capsys, verb, "app") == (64, "", "sockact: unit app is not-found\n")
    status, _, err = run(capsys, verb, "app", "--user")
    assert (status, err) == (
        69,
        "sockact: systemctl does not tell where app is: Failed to connect to bus: No medium found\n",
    )


@pytest.mark.parametrize("scope", ["system", "user"])
@pytest.mark.parametrize("verb", ["status", "reload"])
@pytest.mark.parametrize(
    ("unit", "triggers", "hint"),
    [
        ("app.socket", "app.service", "app.socket is no service: ask for app.service, which it triggers"),
        ("app.timer", "job.service", "app.timer is no service: ask for job.service, which it triggers"),
        (
            "app.path",
            "a.service b.service",
            "is no service: ask for a.service, b.service, which it triggers",
        ),
        ("app.target", "", "app.target is no service: expected the name of a service"),
        ("app.mount", "", "app.mount is no service: expected the name of a service"),
        ("app.slice", "", "app.slice is no service: expected the name of a service"),
        ("old.socket", "older.socket", "old.socket is no service: expected the name of a service"),
    ],
)
def test_a_unit_that_is_no_service_says_what_to_ask_for(
    managers: Managers,
    capsys: pytest.CaptureFixture[str],
    scope: str,
    verb: str,
    unit: str,
    triggers: str,
    hint: str,
) -> None:
    managers.knows(scope, unit, Triggers=triggers, RuntimeDirectory="")

    status, out, err = run(capsys, verb, unit)

    assert (status, out) == (64, "")
    assert err.startswith("sockact: ")
    assert err.endswith(f"{hint}\n")


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ("app@", "app@ is a template: expected one of its instances, like app@1"),
        ("app@.service", "app@.service is a template: expected one of its instances, like app@1.service"),
        ("app@.socket", "app@.socket is a template: expected one of its instances, like app@1.socket"),
        ("app*", "'app*': expected the name of one service, like app.service"),
        ("[a-z]pp", "expected the name of one service"),
        ("", "'': expected the name of one service"),
        ("app web", "expected the name of one service"),
        ("app\nLoadState=loaded", "expected the name of one service"),
    ],
)
def test_a_name_that_can_be_no_service_is_a_fault_of_the_command_line(
    managers: Managers, capsys: pytest.CaptureFixture[str], unit: str, reason: str
) -> None:
    status, out, err = run(capsys, "status", unit)

    assert (status, out) == (64, "")
    assert reason in err
    assert err.count("\n") == 1
    assert not managers.asked()


def test_a_number_is_a_name_and_no_job_of_systemds(
    managers: Managers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "status", "1234")[2] == "sockact: unit 1234 is not-found\n"
    assert managers.asked()[0].endswith(" -- 1234.service")


@pytest.mark.parametrize(
    "words", [["-x"], ["--", "-x"], ["app", "--", "-x"], ["--", "app"], ["app", "more"]]
)
@pytest.mark.parametrize("verb", ["status", "reload"])
def test_a_word_that_looks_like_an_option_is_not_passed_over(
    managers: Managers, capsys: pytest.CaptureFixture[str], verb: str, words: list[str]
) -> None:
    status, _, err = run(capsys, verb, *words)

    assert status == 64
    assert words[-1] in err
    assert not managers.asked()


@pytest.mark.parametrize(
    "say",
    [
        lambda _: "",
        lambda _: "\n\n",
        lambda _: "nonsense\n",
        lambda unit: f"Id={unit}\n",
        lambda unit: f"Id={unit}\nLoadState=loaded\nMainPID=\nRuntimeDirectory=\n",
        lambda unit: f"Id={unit}\nLoadState=loaded\nMainPID=many\n",
        lambda unit: f"Id={unit}\nLoadState=error\nMainPID=0\nRuntimeDirectory=\nTriggers=\n",
        lambda unit: f"Id={unit}\nLoadState=masked\nMainPID=0\nRuntimeDirectory=\nTriggers=\n",
    ],
)
def test_whatever_systemctl_says_there_is_no_traceback(
    managers: Managers,
    capsys: pytest.CaptureFixture[str],
    say: Callable[[str], str],
) -> None:
    managers.knows("system", "app.service")
    for file in (Path(managers.path.split(":", 1)[0])).glob("systemctl--system.*"):
        file.write_text(say("app.service"))

    status, out, err = run(capsys, "status", "app")

    assert status in (64, 69)
    assert not out
    assert err.startswith("sockact: ")
    assert err.count("\n") == 1


def test_all_that_systemctl_complains_of_is_one_line(
    managers: Managers, capsys: pytest.CaptureFixture[str]
) -> None:
    managers.is_down("system", NO_SYSTEM)

    assert run(capsys, "status", "app") == (
        69,
        "",
        (
            "sockact: systemctl does not tell where app is: System has not been booted with systemd "
            "as init system (PID 1). Can't operate.; Failed to connect to bus: Host is down\n"
        ),
    )
