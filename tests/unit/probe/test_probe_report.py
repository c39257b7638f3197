import json

import pytest

from sockact.probe.account import Account, Ledger
from sockact.probe.outcome import Outcome
from sockact.probe.record import Identity
from sockact.probe.report import document, table
from sockact.probe.run import Result
from sockact.probe.spec import parse_spec

SPECS = (parse_spec("one-shot:1@10"), parse_spec("slow:1@max"))


def report(*entries, started=0.5):
    ledger = Ledger({spec.label: Account() for spec in SPECS}, prompt=frozenset({"one-shot:1@10"}))
    for load, due, now, outcome in entries:
        ledger.begin(load, due)
        ledger.end(load, due, now, outcome, "recv: ECONNRESET")
    ledger.saw(Identity("1", 42), 0.25)
    return document("http://localhost", SPECS, Result(ledger, 9.0, started))


MIXED = (
    ("one-shot:1@10", 0.0, 0.002, Outcome.OK),
    ("one-shot:1@10", 1.0, 1.5, Outcome.RESET),
    ("slow:1@max", 0.0, 2.0, Outcome.OK),
)


def test_the_total_is_the_sum_of_the_loads():
    found = report(*MIXED)

    assert (found["requests"], found["lost"]) == (3, 1)
    assert found["total"]["outcomes"]["ok"] == 2
    assert [load["requests"] for load in found["loads"].values()] == [2, 1]


def test_every_outcome_has_its_count_even_if_it_is_zero():
    assert set(report()["total"]["outcomes"]) == set(Outcome)


def test_latencies_are_milliseconds_and_null_where_nothing_was_served():
    loads = report(*MIXED[:2])["loads"]

    assert loads["one-shot:1@10"]["latency_ms"] == {"p50": 2.0, "p99": 2.0, "max": 2.0}
    assert loads["slow:1@max"]["latency_ms"] == {"p50": None, "p99": None, "max": None}


def test_failures_are_listed_with_time_load_outcome_and_detail():
    expected = {"at": 1.5, "load": "one-shot:1@10", "outcome": "reset", "detail": "recv: ECONNRESET"}

    assert report(*MIXED)["failures"] == [expected]


def test_the_document_is_json():
    found = report(*MIXED)

    assert json.loads(json.dumps(found)) == found


def test_the_table_ends_with_the_verdict():
    assert table(report(*MIXED)).endswith("\n1 of 3 requests lost in 9.0 s\n")


def test_the_table_says_when_not_every_client_was_served():
    assert "not every client was served" in table(report(started=None))


def test_the_columns_of_the_table_line_up():
    lines = table(report(*MIXED)).split("\n\n")[0].splitlines()

    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines] == ["load", "one-shot:1@10", "slow:1@max", "total"]


@pytest.mark.parametrize("column", ["closed", "restarts", "unsent"])
def test_the_table_has_no_column_for_what_did_not_happen(column):
    assert column not in table(report(*MIXED))
