"""Which addresses this server may be sent to by a client: the syntax of media URLs and the classes of IP addresses.

Used twice: at create, where only what the URL itself says is judged, and before every connection of a download, where
each resolved address is. Only ordinary public unicast addresses pass; an administrator may name exceptions (host:port).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address

import httpx

from hhray.errors import InvalidURL
from hhray.store_settings import MediaSettings

MAX_URL_CHARS = 2048
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
_PORT_OF_SCHEME = {"http": 80, "https": 443}
DEFAULT_PORTS = (80, 443)
# Blocks Python's `is_global` lets through, or judges differently from one version to the next.
_CLOSED_V4 = tuple(
    ipaddress.ip_network(block)
    for block in ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "100.64.0.0/10", "224.0.0.0/3")
)
_GLOBAL_UNICAST_V6 = ipaddress.ip_network("2000::/3")
# Inside 2000::/3: protocol assignments with Teredo, documentation (two blocks), 6to4.
_CLOSED_V6 = tuple(ipaddress.ip_network(block) for block in ("2001::/23", "2001:db8::/32", "3fff::/20", "2002::/16"))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is ordinary public unicast.

    Refused: private, loopback, link-local, shared (CGNAT), multicast, reserved and documentation blocks, and every IPv6
    form that carries an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo), which could lead back inside.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in block for block in _CLOSED_V4)
    return address in _GLOBAL_UNICAST_V6 and address.is_global and not any(address in block for block in _CLOSED_V6)


def parse_media_url(text: str, allowed_private: Collection[str], ports: Collection[int] = DEFAULT_PORTS) -> httpx.URL:
    """A media URL a client gave, parsed once: what is checked here is what is fetched later.

    `allowed_private` holds the host:port pairs that may be private, and of any port; all others are held to `ports`.
    Names are not resolved here.

    Raises:
        InvalidURL: it is malformed, not http(s), too long, carries credentials, is of another port, or names a private
            address literally.
    """
    if len(text) > MAX_URL_CHARS:
        raise InvalidURL(f"expected a URL of at most {MAX_URL_CHARS} characters, got {len(text)}")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidURL("expected a URL of printable ASCII characters without spaces; percent-encode all others")
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidURL("expected a URL of the form https://host/path") from error
    if url.scheme not in _PORT_OF_SCHEME:
        raise InvalidURL("expected a URL that begins with http:// or https://")
    if not _is_host(host) or not 0 < port_of(url) < 65536:
        raise InvalidURL("expected a URL with a host name and a valid port, as in https://host/path")
    if url.userinfo:
        raise InvalidURL("expected a URL without user name and password")
    if is_allowed_private(url, allowed_private):
        return url
    if _is_private_literal(host):
        raise InvalidURL("expected a public address; this server does not connect to private networks")
    if port_of(url) not in ports:
        raise InvalidURL(f"expected a URL of port {' or '.join(map(str, sorted(ports)))}; others are not connected to")
    return url


def check_webhook_url(text: str, allowed_private: Collection[str], ports: Collection[int]) -> httpx.URL:
    """A webhook's URL. As `parse_media_url`, and only https where it is not one of `allowed_private`.

    Raises:
        InvalidURL: it is no such URL.
    """
    url = parse_media_url(text, allowed_private, ports)
    if url.scheme != "https" and not is_allowed_private(url, allowed_private):
        raise InvalidURL("expected a URL that begins with https://")
    return url


def read_webhook(path: str, value: object, settings: MediaSettings) -> str:
    """The webhook URL that a request's field of this path holds; "" when it is absent.

    Raises:
        InvalidURL: it is no such URL; the message begins with the path.
    """
    if value is None:
        return ""
    try:
        if not isinstance(value, str):
            raise InvalidURL("expected a URL as text, as in https://host/path")
        check_webhook_url(value, settings.allowed_private, settings.ports)
    except InvalidURL as error:
        raise InvalidURL(f"{path}: {error.message}.") from error
    return value


def port_of(url: httpx.URL) -> int:
    """The TCP port of an http(s) URL, its scheme's default included; 0 for another scheme."""
    return url.port if url.port is not None else _PORT_OF_SCHEME.get(url.scheme, 0)


def is_allowed_private(url: httpx.URL, allowed_private: Collection[str]) -> bool:
    """Whether an administrator listed this URL's host:port as one that may be private."""
    host = url.raw_host.decode("ascii").lower()
    netloc = f"[{host}]" if ":" in host else host
    return f"{netloc}:{port_of(url)}" in allowed_private


def _is_host(host: str) -> bool:
    """Whether this can be a host at all: a plain name, or an IPv6 address (which came in brackets)."""
    if ":" not in host:
        return _HOST_NAME.fullmatch(host) is not None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_private_literal(host: str) -> bool:
    """Whether a host, without asking any resolver, is known to be inside: an address in any spelling, or localhost."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        pass
    try:
        # The C library also reads 127.1, 0x7f000001 and 2130706433 as IPv4 addresses, and so does connect().
        return not is_public(IPv4Address(socket.inet_aton(name)))
    except OSError:
        return False
