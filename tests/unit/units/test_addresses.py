"""Addresses of --listen, as socket units have them."""

from __future__ import annotations

import pytest

from sockact.errors import UsageError
from sockact.units.addresses import grouped, parse


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("443", "ListenStream=443"),
        (":443", "ListenStream=443"),
        ("127.0.0.1:8000", "ListenStream=127.0.0.1:8000"),
        ("[::1]:8000", "ListenStream=[::1]:8000"),
        ("unix:/run/shop.sock", "ListenStream=/run/shop.sock"),
        ("/run/shop.sock", "ListenStream=/run/shop.sock"),
        ("unix:@shop", "ListenStream=@shop"),
        ("udp:5353", "ListenDatagram=5353"),
        ("udp:[::]:5353", "ListenDatagram=[::]:5353"),
        ("admin=8001", "ListenStream=8001"),
    ],
)
def test_an_address_becomes_a_line_of_a_socket_unit(text: str, line: str) -> None:
    address = parse(text)

    assert f"{address.option}={address.value}" == line
    assert address.name == ("admin" if text.startswith("admin") else "web")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "0",
            "65536",
            "http",
            "a:b",
            "8000x",
            "1.2.3:80",
            "127.0.0.1",
            "[::1]",
            "[127.0.0.1:80",
            "-1",
        ),
        *("example.org:80", "localhost:80", "unix:", "unix:shop.sock", "unix:@", "/run/", "127.0.0.1:%i"),
        *("unix:/" + "a" * 108, "web=", "tcp:80", "٣٤", "udp:", "127.0.0.1:80:90"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--listen"):
        parse(text)


def test_localhost_is_answered_with_its_address() -> None:
    with pytest.raises(UsageError, match=r"looks up no host names: expected 127\.0\.0\.1"):
        parse("localhost:8000")


def test_each_name_and_kind_has_a_socket_unit() -> None:
    texts = ["443", "[::1]:8443", "unix:/run/a", "http=80", "http=unix:/run/b", "udp:53", "admin=unix:@c"]
    groups = {
        each.suffix: [address.value for address in each.addresses] for each in grouped(map(parse, texts))
    }

    assert groups == {
        "": ["443", "[::1]:8443"],
        "-unix": ["/run/a"],
        "-http": ["80"],
        "-http-unix": ["/run/b"],
        "-udp": ["53"],
        "-admin": ["@c"],
    }


def test_an_address_twice_and_no_address_are_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        grouped([parse("80"), parse(":80")])
    with pytest.raises(UsageError, match="expected --listen"):
        grouped([])


def test_a_specific_address_may_come_later_than_the_socket() -> None:
    assert parse("192.0.2.1:80").bound
    assert not any(parse(text).bound for text in ("80", "0.0.0.0:80", "[::]:80", "127.0.0.1:80"))
