"""The same processes as in tests/process."""

from __future__ import annotations

from tests.process.conftest import gate, manager, service

__all__ = ["gate", "manager", "service"]
