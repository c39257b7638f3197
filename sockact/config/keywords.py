"""The keywords of `sockact.serve`, for editors and type checkers; no process imports this module.

`settings` declares them, with their meanings; a test keeps both the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TypedDict


class SettingsKeywords(TypedDict, total=False):
    """Settings as keywords: each a value or its text; times are in seconds, None means no limit."""

    listen: str | Sequence[str]
    require_activation: bool | str
    unused: str

    chdir: str | PathLike[str]
    env_file: str | Sequence[str | PathLike[str]] | PathLike[str]
    kind: str
    factory: bool | str
    loop: str
    lifespan: str
    start_timeout: float | str
    warmup_path: str
    shutdown_timeout: float | str

    workers: int | str
    preload: bool | str
    threads: int | str
    max_requests: int | str
    max_worker_age: float | str
    max_worker_memory: int | str
    worker_watchdog: float | str | None
    idle_exit: float | str
    notify: bool | str
    notify_access: str

    probation: float | str
    max_draining: int | str
    surge: int | str
    canary: int | str
    canary_for: float | str

    handover: bool | str
    linger: float | str
    drain_timeout: float | str | None
    stream_grace: float | str | None
    websocket_grace: float | str
    drain_jitter: float | str
    drain_delay: float | str
    drain_mode: str

    keep_alive: float | str
    header_timeout: float | str | None
    body_timeout: float | str | None
    write_timeout: float | str | None
    max_header_bytes: int | str
    max_body_bytes: int | str
    wsgi_buffer: int | str
    websocket_max_message: int | str
    websocket_ping_interval: float | str | None
    websocket_ping_timeout: float | str | None
    max_connections: int | str

    tls_certificate: str | PathLike[str]
    tls_key: str | PathLike[str]
    tls_client_ca: str | PathLike[str]
    tls_handshake_timeout: float | str
    plain_listeners: str | Sequence[str]
    redirect_http: int | str

    trusted_proxies: str | Sequence[str]
    proxy_protocol: str | Sequence[str]
    root_path: str
    websocket_compression: bool | str
    ready_path: str
    live_path: str
    version_header: str
    reload_page: bool | str

    version: str
    control: str | PathLike[str]
    pid_file: str | PathLike[str]
    access_log: bool | str
    access_log_format: str
    request_id: str
    log_format: str
    log_level: str
