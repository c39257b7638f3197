"""The app's own counters do not step back when the processes that have counted end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client")

from sockact.process.app_metrics import FOLDER, VARIABLE, AppMetrics

COUNTING = """
import sys
from prometheus_client import Counter, Gauge, Histogram
Counter("shop_orders", "Orders.", ["kind"]).labels("a").inc(float(sys.argv[1]))
Histogram("shop_seconds", "Times.", buckets=(1.0, 2.0)).observe(1.5)
Gauge("shop_open", "Open orders.", multiprocess_mode="livesum").set(7)
"""


@pytest.fixture
def metrics(tmp_path: Path) -> AppMetrics:
    found = AppMetrics.prepared({"RUNTIME_DIRECTORY": str(tmp_path)}, anew=True)
    assert found is not None
    return found


def count(metrics: AppMetrics, number: int) -> None:
    """Count in a process that has ended then."""
    command = [sys.executable, "-c", COUNTING, str(number)]
    subprocess.run(command, env={**os.environ, VARIABLE: metrics.folder}, check=True)


def numbers(metrics: AppMetrics) -> dict[str, float]:
    return {
        f"{sample.name}{sample.labels.get('le', '')}": sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


def test_processes_that_have_ended_are_added_up(metrics: AppMetrics) -> None:
    for number in (1, 10, 100):
        count(metrics, number)
        found = numbers(metrics)
    assert found["shop_orders_total"] == 111
    assert (found["shop_seconds_bucket1.0"], found["shop_seconds_bucket2.0"]) == (0, 3)
    assert (found["shop_seconds_count"], found["shop_seconds_sum"]) == (3, 4.5)
    assert "shop_open" not in found  # a gauge of live processes
    names = sorted(name.partition("-")[0] for name in os.listdir(metrics.folder))
    assert names == ["counter_sockact", "histogram_sockact"]
    assert numbers(metrics) == found


def test_a_process_that_has_just_opened_its_file_hides_no_other(metrics: AppMetrics) -> None:
    count(metrics, 1)
    (ended := subprocess.Popen(["true"])).wait()
    for pid in (os.getpid(), ended.pid):
        for kind in ("counter", "histogram", "gauge_all", "gauge_livesum"):
            Path(metrics.folder, f"{kind}_{pid}.db").touch()
    assert numbers(metrics)["shop_orders_total"] == 1
    left = {name for name in os.listdir(metrics.folder) if f"_{ended.pid}." in name}
    assert left == {f"gauge_all_{ended.pid}.db"}
    assert numbers(metrics)["shop_orders_total"] == 1


def test_an_addition_that_was_killed_counts_once(metrics: AppMetrics) -> None:
    """The sum was there, and its parts were not removed yet."""
    count(metrics, 1)
    numbers(metrics)
    count(metrics, 10)
    kept = {name: Path(metrics.folder, name).read_bytes() for name in os.listdir(metrics.folder)}
    after = numbers(metrics)
    for name, data in kept.items():
        Path(metrics.folder, name).write_bytes(data)
    again = AppMetrics.prepared({VARIABLE: metrics.folder}, anew=False)
    assert again is not None
    again.recover()
    assert numbers(again) == after


def test_a_start_begins_anew_in_a_folder_of_ours_only(metrics: AppMetrics, tmp_path: Path) -> None:
    count(metrics, 1)
    for environ, anew, left in (
        ({"RUNTIME_DIRECTORY": str(tmp_path)}, False, 1),
        ({VARIABLE: metrics.folder}, True, 1),
        ({"RUNTIME_DIRECTORY": str(tmp_path)}, True, None),
    ):
        found = AppMetrics.prepared(environ, anew=anew)
        assert found is not None
        assert found.folder == str(tmp_path / FOLDER)
        assert numbers(found).get("shop_orders_total") == left


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FOLDER).write_text("")
    assert AppMetrics.prepared({"RUNTIME_DIRECTORY": str(tmp_path)}, anew=True) is None
    assert "expected a folder of this user" in caplog.text
