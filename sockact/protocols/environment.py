"""The variables by which a process of sockact informs one that it starts, or becomes."""

from __future__ import annotations

ACTIVATED = "SOCKACT_ACTIVATED"
"""Tells the processes of a service whether it was passed sockets: they pass sockets to each other, too."""

CHILDREN = "SOCKACT_CHILDREN"
"""Tells a program that replaces another one in its process the children that the other had."""

GENERATION = "SOCKACT_GENERATION"
"""Tells the new code how many times the program has been replaced, plus one."""

OWN = "SOCKACT_OWN"
"""Tells a supervisor that its program has called `sockact.serve`."""

SUPERVISED = "SOCKACT_SUPERVISED"
"""Tells a worker that it is one, whatever its settings are."""

REMARK = "SOCKACT_REMARK"
"""Tells the new code which changes the reload that has started it did not apply."""

UNIT = "SOCKACT_UNIT"
"""Tells the new code the unit's content at the start of the main process; see `process.unapplied`."""

TEMPLATE = "SOCKACT_TEMPLATE"
"""Tells a process that it forks the workers of its generation."""

WORKER = "SOCKACT_WORKER"
"""Tells a worker its number, for its log records."""

TRIAL = "SOCKACT_CANARY"
"""Tells the new code that it is on trial."""
