"""Environment files mean to sockact what they mean to systemd."""

from __future__ import annotations

from tests.support.envfile import SAMPLE, VALUES
from tests.support.machine.machine import Machine


def test_systemd_reads_the_sample_as_we_do(machine: Machine) -> None:
    machine.write("/run/sample.env", SAMPLE)

    printed = machine.run(
        *("systemd-run", "--quiet", "--wait", "--pipe", "--property=EnvironmentFile=/run/sample.env"),
        *("env", "--null"),
    ).stdout

    environ = dict(line.split("=", 1) for line in printed.split("\0") if line)
    assert {name: environ.get(name) for name in VALUES} == VALUES
