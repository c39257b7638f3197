"""Runs `python -m sockact.probe`."""

import sys

from .cli import main

sys.exit(main())
