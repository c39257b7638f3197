"""The variables by which a process of sockact tells what it knows to one that it starts, or becomes."""

from __future__ import annotations

ACTIVATED = "SOCKACT_ACTIVATED"
"""Tells the processes of a service whether it was passed sockets: they pass them among each other too."""

CHILDREN = "SOCKACT_CHILDREN"
"""Tells a program that replaces another one in its process which children that had."""

GENERATION = "SOCKACT_GENERATION"
"""Tells the new code how many times the program has been replaced, plus one."""

OWN = "SOCKACT_OWN"
"""Tells a supervisor that its program is one that has called `sockact.serve`."""

SUPERVISED = "SOCKACT_SUPERVISED"
"""Tells a worker that it is one, whatever it was told about workers."""

REMARK = "SOCKACT_REMARK"
"""Tells the new code what the reload that has started it did not take over."""

UNIT = "SOCKACT_UNIT"
"""Tells the new code what the unit said when the main process was started; see `process.unapplied`."""

TRIAL = "SOCKACT_CANARY"
"""Tells the new code that it is a canary."""
