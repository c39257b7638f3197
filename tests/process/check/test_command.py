"""`sockact check` as it is run: exit statuses, JSON, repairs, and odd input."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import SOCKACT
from tests.support.manager import CHECKOUT, LIMIT
from tests.support.unit_cases import BASES, write

BAD = BASES["app"]["app.service"].replace("NonBlocking=yes\n", "")


def check(*words: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environ = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    command = [*SOCKACT, "check", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=CHECKOUT, env=environ
    )


def test_the_shipped_units_are_fine() -> None:
    done = check("units")

    assert (done.returncode, done.stdout, done.stderr) == (0, "5 units: nothing found\n", "")


def test_a_finding_shows_rule_line_consequence_and_cure(tmp_path: Path) -> None:
    write(tmp_path, {**BASES["app"], "app.service": BAD})

    done = check(tmp_path / "app.socket")

    number = BAD.splitlines().index("KillMode=process") + 1
    assert done.returncode == 1
    path, rule, line, consequence, cure, empty, summary = done.stdout.splitlines()
    assert path == f"{tmp_path}/app.service"
    assert rule.startswith("  error listener-becomes-blocking: ")
    assert line == f"    {number}: KillMode=process"
    assert consequence.endswith(" [systemd.service(5), NonBlocking=]")
    assert cure == "    --fix: [Service] NonBlocking=yes"
    assert (empty, summary) == ("", "app.socket app.service: 1 error")


def test_json_has_the_same(tmp_path: Path) -> None:
    write(tmp_path, {**BASES["app"], "app.service": BAD})

    (finding,) = json.loads(check(tmp_path, "--json").stdout)

    assert {name: finding[name] for name in ("unit", "rule", "severity", "option", "value", "cure")} == {
        "unit": "app.service",
        "rule": "listener-becomes-blocking",
        "severity": "error",
        "option": "KillMode",
        "value": "process",
        "cure": ["[Service] NonBlocking=yes"],
    }
    assert json.loads(check(tmp_path, "--json", "--ignore=listener-becomes-blocking").stdout) == []


def test_fix_repairs_and_shows_what_it_changed(tmp_path: Path) -> None:
    write(tmp_path, {**BASES["app"], "app.service": BAD})

    shown = check(tmp_path, "--diff")
    assert (shown.returncode, (tmp_path / "app.service").read_text()) == (1, BAD)
    done = check(tmp_path, "--fix")

    assert done.returncode == 0
    assert "\n+NonBlocking=yes\n" in done.stdout
    assert "\n+NonBlocking=yes\n" in shown.stdout
    assert done.stdout.endswith("app.service app.socket: nothing found\n")
    assert "NonBlocking=yes\n" in (tmp_path / "app.service").read_text()


def test_hints_leave_the_exit_status_at_0(tmp_path: Path) -> None:
    write(tmp_path, BASES["gunicorn"])

    done = check(tmp_path)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "shop.service shop.socket: 1 hint")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nothing"], 64, "sockact: nothing: no such unit is here, or it is masked"),
        (["units", "--ignore=none"], 64, "--ignore=none: there is no such rule"),
        (["units", "--systemd=new"], 64, "--systemd=new: expected a version such as 252"),
        (["README.md"], 64, "sockact: README.md: expected a service or a socket unit"),
    ],
)
def test_wrong_usage_is_told(words: list[str], status: int, said: str) -> None:
    done = check(*words)

    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


ODD = {
    "empty": "",
    "binary": "\x00\x01[Service]\x02\nExecStart=\x1b[31m/bin/true\n",
    "unicode": "[Service]\nExecStart=/opt/größe %/gunicorn \N{RIGHT-TO-LEFT OVERRIDE}x:app\nUser=ü\n",
    "percent": "[Service]\nExecStart=/bin/%\nType=%\nEnvironment=%%%%%\n",
    "open": "[Service\nType=notify\nExecStart='\"\\",
    "quotes": '[Service]\nExecStart=""\nEnvironment="\nRuntimeDirectory=\'a b\' /\n',
    "numbers": "[Service]\nTimeoutStopSec=99999999999999h\nWatchdogSec=-1\nFileDescriptorStoreMax=²\n",
    "long": "[Service]\nExecStart=/bin/sh -c '" + "a && " * 5000 + "gunicorn x:y'\n",
    "many": "[Service]\n" + "ExecStart=/bin/true\n" * 2000,
    "crlf": "[Service]\r\nType=simple\r\nExecStart=/bin/sockact run a:b\r\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("suffix", ["service", "socket"])
def test_an_odd_unit_does_no_harm(tmp_path: Path, text: str, suffix: str) -> None:
    (tmp_path / f"odd.{suffix}").write_text(text)

    done = check(tmp_path, "--here", "--fix")

    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in done.stdout


def test_a_name_with_spaces_and_percent_signs_is_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "a folder % ü"
    write(folder, {"my app%.service": BAD.replace("app.socket", "my app%.socket")})

    done = check(folder / "my app%.service")

    assert "listener-becomes-blocking" in done.stdout
    assert done.stderr == ""


def test_no_systemd_is_needed(tmp_path: Path) -> None:
    write(tmp_path, BASES["app"])

    done = check(tmp_path, "--here", path="/nowhere")

    assert done.stderr == ""
    assert "program-missing" in done.stdout


def test_a_unit_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    write(tmp_path, {**BASES["app"], "app.service": BAD})
    (tmp_path / "app.service").unlink()
    (tmp_path / "app.service").symlink_to("/proc/self/nothing/app.service")

    done = check(tmp_path / "app.service", "--fix")

    assert done.returncode == 64
    assert "app.service" in done.stderr
