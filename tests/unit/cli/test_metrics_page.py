"""docs/metrics.md and the dashboard say what the code says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sockact.cli import metrics_page, prometheus
from sockact.protocols.metrics import families, statistics_overview
from sockact.protocols.service_events import COUNT, Cause, ServiceEvents, drained
from sockact.protocols.statistics import WORDS, Reason, Statistics
from tests.support.manager import CHECKOUT

DASHBOARD = json.loads((CHECKOUT / "units" / "grafana.json").read_text())


def sample_names() -> set[str]:
    return {family.name + sample.suffix for family in metrics_page.every() for sample in family.samples}


def expressions(found: Any) -> Iterator[str]:
    """Return all expressions of a dashboard, wherever they stand."""
    if isinstance(found, list):
        for each in found:
            yield from expressions(each)
    elif isinstance(found, dict):
        for key, value in found.items():
            if isinstance(value, str) and (key == "expr" or value.startswith("label_values(")):
                yield value
            else:
                yield from expressions(value)


def unknown(texts: Iterator[str] | list[str]) -> set[str]:
    """Return the metrics of expressions that do not exist."""
    named = {name for text in texts for name in re.findall(r"\bsockact_\w+", text)}
    assert named
    return named - sample_names()


def test_the_page_of_metrics_is_made_from_the_code() -> None:
    """It is made anew by `python -m sockact.cli.metrics_page >docs/metrics.md`."""
    assert (CHECKOUT / "docs" / "metrics.md").read_text() == metrics_page.page()


def test_each_expression_of_the_dashboard_names_metrics_that_exist() -> None:
    assert unknown(expressions(DASHBOARD)) == set()


def test_each_metric_is_on_the_dashboard_but_the_trivial() -> None:
    shown = set(re.findall(r"\bsockact_\w+", " ".join(expressions(DASHBOARD))))
    missing = {
        family.name
        for family in metrics_page.every()
        if not shown & {family.name + sample.suffix for sample in family.samples}
    }
    assert missing == {"sockact_requests", "sockact_worker_uptime_seconds"}


def test_a_metric_that_does_not_exist_is_seen() -> None:
    assert unknown(["rate(sockact_request_total[1m])"]) == {"sockact_request_total"}


def test_names_follow_the_conventions() -> None:
    # Source: https://prometheus.io/docs/practices/naming/
    for family in metrics_page.every():
        assert re.fullmatch(r"sockact_[a-z]+(_[a-z]+)*", family.name)
        assert family.meaning.endswith(".")
        suffixes = {sample.suffix for sample in family.samples}
        expected = {"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}
        assert suffixes == expected[family.kind], family.name
    assert len({family.name for family in metrics_page.every()}) == len(metrics_page.every())


def test_numbers_are_those_of_workers_and_events() -> None:
    statistics = Statistics(tuple(range(WORDS)))
    events = list(range(100, 100 + COUNT))
    service = {
        "phase": "active",
        "generation": 3,
        "workers": [],
        "statistics": statistics_overview(statistics, ServiceEvents(tuple(events))),
    }
    text = prometheus.render(json.loads(json.dumps(service)))
    assert f'sockact_responses_total{{code="5xx"}} {statistics.responses[4]}' in text
    assert f'sockact_connections_closed_total{{reason="exit"}} {statistics.closed(Reason.EXIT)}' in text
    assert 'sockact_reloads_total{result="failed"} 101' in text
    assert f'sockact_worker_ends_total{{cause="error"}} {102 + Cause.ERROR}' in text


def test_what_a_service_makes_up_is_not_shown() -> None:
    for words, events in (
        ((-1,) * WORDS, (0,) * COUNT),
        ((0,) * (WORDS - 1), (0,) * COUNT),
        (("1",) * WORDS, (0,) * COUNT),
        ((True,) * WORDS, (0,) * COUNT),
        ((0,) * WORDS, None),
    ):
        service = {
            "phase": "active",
            "generation": 1,
            "requests": 5,
            "reloads": {"ok": 1, "failed": 0},
            "workers": [],
            "statistics": {"layout": 1, "words": words, "events": events},
        }
        names = {family.name for family in families(service)}
        assert "sockact_requests" in names
        assert "sockact_responses" not in names


def test_a_drain_is_counted_by_its_length() -> None:
    numbers = [0] * COUNT
    for place, number in drained(0.3).items():
        numbers[place] += number
    found = ServiceEvents(tuple(numbers)).drains
    assert (found.count, found.seconds) == (1, 0.3)
    assert found.quantile(0.5) == 0.375
