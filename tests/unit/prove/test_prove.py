"""Where a service answers, what is done to it, and why requests were lost."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from sockact.errors import UsageError
from sockact.probe.outcome import Outcome
from sockact.prove import listening, reasons, target
from sockact.prove.verbs import Verb, actions
from sockact.systemd.systemctl import Described

NO_SOCKET: Mapping[str, Sequence[str]] = MappingProxyType({})


def service(can_reload: str = "yes", listen: Mapping[str, Sequence[str]] = NO_SOCKET) -> Described:
    return Described("a b.service", "--system", {"CanReload": can_reload, "ControlGroup": ""}, listen)


def test_the_addresses_of_a_socket_unit_become_urls() -> None:
    assert list(
        target.urls(["127.0.0.1:8000", "/run/a b.sock", "0.0.0.0:80", "[::]:443", "@abstract"])
    ) == [
        "http://127.0.0.1:8000",
        "https://127.0.0.1:8000",
        "unix:/run/a b.sock",
        "http://127.0.0.1:80",
        "https://127.0.0.1:80",
        "http://[::1]:443",
        "https://[::1]:443",
    ]


def test_requests_have_the_path_and_the_host_that_were_asked_for() -> None:
    address = target.at("unix:/run/app.sock", "/health?x=1", "shop.example")

    assert (address.path, address.host) == ("/health?x=1", "shop.example")
    assert target.at("http://127.0.0.1:80", "/", None).host == "127.0.0.1:80"


def test_a_unit_without_a_reload_is_restarted_or_refused() -> None:
    assert [each.label for each in actions([Verb.RELOAD, Verb.RESTART], service("no"))] == ["restart"]
    with pytest.raises(UsageError, match=r"a b\.service has no ExecReload=.*--restart"):
        actions([Verb.RELOAD], service("no"))


def test_the_unit_is_one_argument_and_no_option() -> None:
    for each in actions(list(Verb), service()):
        assert each.argv[-1] == "a b.service"
        assert each.argv[-2] in ("--", "sh")


@pytest.mark.parametrize(
    ("family", "local", "shown"),
    [
        (socket.AF_INET, "0100007F:1F40", "127.0.0.1:8000"),
        (socket.AF_INET, "00000000:0050", "0.0.0.0:80"),
        (socket.AF_INET6, "00000000000000000000000001000000:01BB", "[::1]:443"),
        (socket.AF_INET6, "00000000000000000000000000000000:0001", "[::]:1"),
    ],
)
@pytest.mark.skipif(sys.byteorder != "little", reason="the examples are of such a machine")
def test_the_kernels_addresses_are_read(family: socket.AddressFamily, local: str, shown: str) -> None:
    assert listening.shown(family, local) == shown


def test_a_control_group_that_is_gone_has_no_processes() -> None:
    assert listening.processes("/system.slice/no such.service") == []
    assert listening.processes("") == []


def report(stall: float | None = 0.01, reconnects: int = 0, **outcomes: int) -> dict[str, Any]:
    counts = {outcome.value: outcomes.get(outcome, 0) for outcome in Outcome}
    return {"started": 0.1, "total": {"outcomes": counts, "reconnects": reconnects, "stall": stall}}


def test_nothing_needs_an_explanation_where_nothing_was_lost() -> None:
    assert list(reasons.explain(report(ok=100), service())) == []
    assert list(reasons.explain(report(stall=None), service())) == []


def test_each_kind_of_loss_is_explained() -> None:
    for outcome in Outcome:
        if outcome.lost:
            (line,) = reasons.explain(report(**{outcome: 1234}), service())
            assert line.startswith(f"1,234 {outcome}: ")


def test_who_listens_is_part_of_the_explanation() -> None:
    (alone,) = reasons.explain(report(refused=1), service())
    (passed,) = reasons.explain(report(refused=1), service(listen={"app.socket": ["127.0.0.1:1"]}))

    assert "a socket unit would hold the port open" in alone
    assert "app.socket did not listen" in passed


def test_closed_connections_and_a_long_stall_are_explained() -> None:
    closed, stalled = reasons.explain(report(stall=1.5, reconnects=4), service())

    assert "4 closed: no request was lost" in closed
    assert stalled.startswith("1.5 s of stall")
