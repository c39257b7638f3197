"""The Vagrantfile, as far as it can be tested where no virtual machine can be started."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.manager import CHECKOUT


def test_the_vagrantfile_is_valid(tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("vagrant")
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=CHECKOUT,
        # Vagrant keeps state of its own in both, and asks a server for its newest release.
        env=os.environ
        | {
            "VAGRANT_HOME": str(tmp_path / "home"),
            "VAGRANT_DOTFILE_PATH": str(tmp_path / "dotfile"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
