"""Troubles of a service: its state, its sockets, its limits, its reloads, its workers."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.doctor.facts import Facts
from sockact.doctor.remark import trouble

MANY_RESTARTS = 5
NEARLY = 0.9
"""The part of a limit from which on it is nearly reached."""
STARTING = 300.0
"""Seconds after which a worker that starts does not start any more."""
ENABLED = ("enabled", "enabled-runtime", "linked", "alias", "generated", "indirect", "transient")


@trouble
def unit_bad(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if systemd could not load the unit."""
    state = facts.service.get("LoadState", "loaded")
    if state != "loaded":
        yield f"systemd has not loaded {facts.name}: {state}", f"systemctl status {facts.name}"


@trouble
def service_failed(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the service has failed."""
    if facts.service.get("ActiveState") == "failed":
        status = facts.service.get("ExecMainStatus", "0")
        text = f"{facts.name} has failed: {facts.service.get('Result')}, exit status {status}"
        yield text, f"journalctl -u {facts.name}; then systemctl start {facts.name}"


@trouble
def service_does_not_start(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if systemd tries again and again."""
    if _is_tried_again(facts):
        status = facts.service.get("ExecMainStatus", "0")
        how = f" (exit status {status})" if status != "0" else ""  # 0 also while the next try is under way
        yield f"{facts.name} does not start{how}; systemd tries again", f"journalctl -u {facts.name}"


def _is_tried_again(facts: Facts) -> bool:
    """Return whether systemd starts the service again after a failure, or waits to do so."""
    if facts.service.get("ActiveState") != "activating":
        return False
    return facts.service.get("SubState", "").startswith("auto-restart") or bool(facts.number("NRestarts"))


@trouble
def restarts_often(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if systemd has restarted the service often."""
    count = facts.number("NRestarts") or 0
    if count >= MANY_RESTARTS and not _is_tried_again(facts):
        text = f"systemd has restarted {facts.name} {count} times after failures"
        yield text, f"journalctl -u {facts.name}; then systemctl reset-failed {facts.name}"


@trouble
def unit_changed(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each unit whose files have changed since systemd has read them."""
    every = {facts.name: facts.service, **facts.sockets} if facts.unit else {}
    names = [name for name, found in every.items() if found.get("NeedDaemonReload") == "yes"]
    if names or facts.unread:
        what = " ".join([*names, *facts.unread])
        yield f"{what}: changed since systemd has read it", "systemctl daemon-reload"


@trouble
def socket_failed(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each socket unit that has failed: connections are refused."""
    for name, found in facts.sockets.items():
        if found.get("ActiveState") == "failed":
            yield (
                f"{name} has failed: {found.get('Result')}; connections are refused",
                f"systemctl start {name}",
            )


@trouble
def socket_inactive(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each socket unit that does not listen."""
    for name, found in facts.sockets.items():
        if found.get("ActiveState") == "inactive" and found.get("LoadState") == "loaded":
            yield f"{name} does not listen", f"systemctl enable --now {name}"


@trouble
def socket_masked(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each socket unit that systemd could not load."""
    for name, found in facts.sockets.items():
        if found.get("LoadState", "loaded") != "loaded":
            yield f"systemd has not loaded {name}: {found.get('LoadState')}", f"systemctl status {name}"


@trouble
def not_enabled(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if nothing starts the service after a boot."""
    states = {name: found.get("UnitFileState", "") for name, found in facts.sockets.items()}
    own = facts.service.get("UnitFileState", "")
    active = any(found.get("ActiveState") == "active" for found in facts.sockets.values()) or facts.runs
    if active and not any(state in ENABLED for state in (own, *states.values())):
        name = next(iter(states), facts.name)
        yield (
            f"after a boot {name} is not started: it is {states.get(name) or own}",
            f"systemctl enable {name}",
        )


@trouble
def sockets_changed(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each socket that is held and not listed, or listed and not held, or out of reach."""
    for line in facts.differences:
        yield line, ""


@trouble
def silent(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the service runs and does not answer on its control socket."""
    if facts.runs and facts.silence and not facts.is_refused:
        yield f"{facts.name} does not answer: {facts.silence}", f"journalctl -u {facts.name}"


@trouble
def main_process_differs(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if another main process answers than the one that systemd watches."""
    if facts.overview is not None and facts.overview["pid"] != (facts.number("MainPID") or 0):
        text = (
            f"pid {facts.overview['pid']} answers, and systemd watches pid {facts.service.get('MainPID')}"
        )
        yield text, "two services with one RuntimeDirectory=? See `sockact check`"


@trouble
def reload_refused(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the last reload was refused."""
    last = facts.overview["reload"] if facts.overview else None
    if last is not None and not last["ok"]:
        yield (
            f"the last reload was refused: {last['text']}",
            f"repair it, and systemctl reload {facts.name}",
        )


@trouble
def no_worker_ready(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the service is active, and nobody serves."""
    phases = [each["phase"] for each in facts.workers]
    if phases and "ready" not in phases and facts.service.get("ActiveState") == "active":
        yield f"none of {len(phases)} workers is ready", f"journalctl -u {facts.name}"


@trouble
def worker_does_not_start(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each worker that has been starting for long."""
    for each in facts.workers:
        if each["phase"] == "starting" and each["uptime"] > STARTING:
            yield (
                f"worker {each['worker']} (pid {each['pid']}) has been starting for {each['uptime']:.0f} s",
                "",
            )


@trouble
def memory_limit(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the service has nearly used up its memory, or cannot hold two generations."""
    most, used = facts.number("MemoryMax"), facts.number("MemoryCurrent")
    needed = 2 * sum(each["rss"] or 0 for each in facts.workers)
    if most and used and used > NEARLY * most:
        yield f"{used >> 20} of MemoryMax={most >> 20}M are in use", "a higher MemoryMax=, or fewer workers"
    elif most and needed > most:
        text = f"a reload needs {needed >> 20} MiB, all workers twice, and MemoryMax= is {most >> 20}M"
        yield text, "a higher MemoryMax=, or --surge=1"


@trouble
def tasks_limit(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the service can hardly start another thread or process."""
    most, used = facts.number("TasksMax"), facts.number("TasksCurrent")
    if most and used and used > NEARLY * most:
        yield f"{used} of TasksMax={most} threads and processes are in use", "a higher TasksMax="


@trouble
def descriptors_low(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield for each process that has nearly used up its descriptors."""
    for pid, (used, most) in facts.descriptors.items():
        if used > NEARLY * most:
            yield f"pid {pid} has {used} of {most} descriptors open", "a higher LimitNOFILE="


@trouble
def descriptor_limit_cut(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if the kernel does not allow the unit's limit."""
    most, wanted = facts.sysctls.get("fs/nr_open", ""), facts.number("LimitNOFILE")
    if most.isdecimal() and wanted and wanted > int(most):
        yield f"LimitNOFILE={wanted} is above fs.nr_open={most}", f"sysctl -w fs.nr_open={wanted}"


@trouble
def store_full(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield if systemd can hardly store another descriptor."""
    most, used = facts.number("FileDescriptorStoreMax"), facts.number("NFileDescriptorStore")
    if most and used and used > NEARLY * most:
        text = f"systemd stores {used} of {most} descriptors: connections and workers beyond are not kept"
        yield text, "a higher FileDescriptorStoreMax=, and Environment=FDSTORE="
