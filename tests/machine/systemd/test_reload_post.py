"""ExecReloadPost= of systemd 259: commands that run when a reload is done."""

from __future__ import annotations

import pytest

from tests.support.machine.machine import Machine
from tests.support.machine.roots import NEWEST
from tests.support.machine.service import get, install, main_pid, reload
from tests.support.machine.supervised import QUICK, start

pytestmark = [
    pytest.mark.newest,
    pytest.mark.parametrize("suite", [NEWEST], indirect=True),
]
ASK = "/usr/bin/python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8000/').read()\""
MARK = f"ExecReloadPost={ASK}\nExecReloadPost=/bin/touch /run/app/reloaded"


def marked(app: Machine) -> bool:
    return app.run("rm", "/run/app/reloaded", check=False).returncode == 0


def test_they_run_when_the_new_code_serves_and_not_after_a_refused_reload(app: Machine) -> None:
    start(app, *QUICK, service=MARK)
    install(app, 2)
    reload(app)
    assert marked(app)
    assert get(app)["version"] == "2"

    install(app, 3, "raise RuntimeError('no database')")

    assert reload(app, check=False).returncode != 0
    assert not marked(app)
    assert get(app)["version"] == "2"


def test_one_that_fails_fails_the_reload_and_the_new_code_goes_on(app: Machine) -> None:
    pid = start(app, *QUICK, service="ExecReloadPost=/bin/false")
    install(app, 2)

    assert reload(app, check=False).returncode != 0

    assert (get(app)["version"], main_pid(app)) == ("2", pid)
    assert app.show("app.service", "ActiveState") == {"ActiveState": "active"}
