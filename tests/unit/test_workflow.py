"""The workflow of GitHub Actions: nothing but `.ci/run`, on a release that the tests know."""

from __future__ import annotations

import yaml

from tests.support.machine.roots import SUITES
from tests.support.manager import CHECKOUT


def test_the_workflow_runs_what_ci_runs_everywhere() -> None:
    (job,) = yaml.safe_load((CHECKOUT / ".github/workflows/ci.yml").read_text())["jobs"].values()

    name, _, release = job["container"]["image"].partition(":")
    assert name == "debian"
    assert release in SUITES
    assert "--privileged" in job["container"]["options"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert (CHECKOUT / ".ci/run").stat().st_mode & 0o111
