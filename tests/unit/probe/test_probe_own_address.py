"""Only addresses of this machine are loaded without a word."""

from __future__ import annotations

import pytest

from sockact.probe.own_address import is_own
from sockact.probe.wire import resolve


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.8.9.10:1/",
        "http://[::1]/",
        "http://0.0.0.0:80/",
        "unix:/run/x",
        "https://localhost/",
    ],
)
def test_the_loopback_and_unix_sockets_are_own(url: str) -> None:
    assert is_own(resolve(url))


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "https://198.51.100.7:8443/", "http://[2001:db8::1]/"]
)
def test_addresses_of_others_are_not(url: str) -> None:
    """These are reserved for documentation: RFC 5737, RFC 3849."""
    assert not is_own(resolve(url))


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="no user and no password") as refused:
        resolve("http://me:secret@127.0.0.1/")

    assert "secret" not in str(refused.value)
