"""Which app is served on which listeners.

`serve(app)` serves one app on all of them; `serve({"web": app, "admin": other})` each on those whose
`FileDescriptorName=` is its key. All sockets of one unit share that name: a key may also be the address of
one of them, and takes it from those of its name. A name without a socket, or a socket without an app, is an
error that says what there is on both sides; `unused` decides about the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sockact.apps import kinds, loader
from sockact.config.settings import Settings
from sockact.errors import ActivationError, UsageError
from sockact.sockets.fds import Kind, Listener


@dataclass(frozen=True, slots=True)
class Mount:
    """An app and where it is served.

    Attributes:
        app: what `loader.make` has returned.
        kind: what it is, as in `kinds`.
        listeners: all of one kind; empty where the app is only tried.
    """

    app: Callable[..., Any]
    kind: str
    listeners: Sequence[Listener]

    @property
    def is_http(self) -> bool:
        """Whether it is an app that answers requests over HTTP."""
        return self.kind in kinds.HTTP


def assign(
    target: object, listeners: Sequence[Listener], unused: str
) -> list[tuple[object, list[Listener]]]:
    """Return each app, not yet loaded, with its listeners; an app with two names is one app.

    Args:
        target: an app, or a mapping from names and addresses to apps.
        listeners: what was passed or bound.
        unused: what to do about those without an app, as the setting; `error` is done here.

    Raises:
        UsageError: the mapping is empty, or its keys are not names.
        ActivationError: names and listeners do not fit together.
    """
    if not isinstance(target, Mapping):
        return [(target, list(listeners))]
    if not target or not all(isinstance(name, str) and name for name in target):
        raise UsageError(f"serve({target!r}): expected apps by the names of their sockets")
    keys = [_key_of(listener, target) for listener in listeners]
    missing = [name for name in target if name not in keys]
    left = [listener for listener, key in zip(listeners, keys, strict=True) if not key]
    if missing or (left and unused == "error"):
        raise ActivationError(_mismatch(target, listeners, missing, left))
    assigned: list[tuple[object, list[Listener]]] = []
    for app in distinct(target):
        names = {name for name, other in target.items() if _same(app, other)}
        own = [listener for listener, key in zip(listeners, keys, strict=True) if key in names]
        assigned.append((app, own))
    return assigned


def _key_of(listener: Listener, target: Mapping[str, object]) -> str:
    """Return the key of the app for a listener: its address, or else its name; empty for no app."""
    address = listener.address
    port = address[address.rfind(":") :] if listener.is_internet else ""  # `:8000`, as `listen` has it
    return next((key for key in (address, port, listener.name) if key and key in target), "")


def distinct(target: object) -> list[object]:
    """Return the apps of a target, each once."""
    apps: list[object] = []
    for app in target.values() if isinstance(target, Mapping) else [target]:
        if not any(_same(app, other) for other in apps):
            apps.append(app)
    return apps


@dataclass(frozen=True, slots=True)
class Found:
    """An app that was imported, or its factory.

    Attributes:
        name: what was given in its place.
        app: what `loader.find` has returned.
        listeners: where it shall be served; empty where it is only tried.
    """

    name: object
    app: Any
    listeners: Sequence[Listener]


def find(target: object, listeners: Sequence[Listener] | None, unused: str) -> list[Found]:
    """Import the apps of a target, or their factories; not in the loop.

    Args:
        target: an app, or a mapping from names to apps.
        listeners: what was passed or bound; None where the apps are only tried.
        unused: what to do about those without an app, as the setting.

    Raises:
        UsageError, ActivationError: as `assign`.
        AppError: an app cannot be imported.
    """
    if listeners is None:
        assigned: list[tuple[object, list[Listener]]] = [(app, []) for app in distinct(target)]
    else:
        assigned = assign(target, listeners, unused)
    return [Found(app, loader.find(app), own) for app, own in assigned]


def mount(found: Sequence[Found], settings: Settings) -> list[Mount]:
    """Make apps of what was found, and tell what they are; in the loop that serves them.

    Args:
        found: apps or factories.
        settings: `kind` and `factory` of them.

    Raises:
        ActivationError: an app cannot be served on its listeners.
        AppError: a factory fails, or it cannot be told what an app is.
    """
    mounts: list[Mount] = []
    for each in found:
        app = loader.make(each.name, each.app, factory=settings.factory)
        kind = kinds.kind_of(app) if settings.kind == "auto" else settings.kind
        kinds.require_served_on(kind, each.listeners)
        mounts += [Mount(app, kind, own) for own in _by_kind(each.listeners)]
    return mounts


def _same(one: object, other: object) -> bool:
    return one is other or (isinstance(one, str) and one == other)


def _by_kind(listeners: Sequence[Listener]) -> list[list[Listener]]:
    """Keep datagram sockets apart from the others: no engine serves both."""
    datagrams = [listener for listener in listeners if listener.kind is Kind.DATAGRAM]
    others = [listener for listener in listeners if listener.kind is not Kind.DATAGRAM]
    return [each for each in (others, datagrams) if each] or [[]]


def _mismatch(
    target: Mapping[str, object],
    listeners: Sequence[Listener],
    missing: Sequence[str],
    left: Sequence[Listener],
) -> str:
    wrong = [f"no socket is called {name}" for name in missing]
    wrong += [f"no app is for {listener.name}={listener.address}" for listener in left]
    passed = ", ".join(f"{listener.name}={listener.address}" for listener in listeners) or "none"
    return f"{'; '.join(wrong)}: sockets are {passed}, apps are for {', '.join(target)}"
