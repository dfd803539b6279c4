"""Which addresses clients may point this server at."""

from __future__ import annotations

import ipaddress

import pytest

from deployment.addresses import is_public, parse_media_url
from hhray.errors import InvalidURL

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "2a00:1450:4001::1"]
INSIDE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.1", "192.0.2.1"),
    *("192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::1", "100::1"),
    *(
        "2001::1",
        "2001:db8::1",
        "2002:808:808::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_ordinary_unicast_is_public(text):
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", INSIDE)
def test_everything_else_is_not_public(text):
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.1/", "http://017700000001/", "http://0x7f000001/", "http://[::1]:80/", "http://[::]/"),
        *("http://a.localhost/", "http://LOCALHOST/", "http://127.0.0.1./", "http://[fe80::1%25lo]/"),
        *(
            "http://public.example\\@127.0.0.1/",
            "http://public.example@127.0.0.1/",
            "http://127.0.0.1#@public.example/",
        ),
        *("http://\u24db\u24de\u24d2alhost/", "javascript:alert(1)", "//a.example/", "http:a.example", "https://", ""),
        *(
            "http://[",
            "http://[::1",
            "http://[a:b]/",
            "http://%31%32%37.0.0.1/",
            "http://a..%2f/",
            "http://a.example:x/",
        ),
    ],
)
def test_tricks_are_refused(url):
    with pytest.raises(InvalidURL):
        parse_media_url(url, ())


def test_an_ordinary_url_passes_and_keeps_path_and_query():
    url = parse_media_url("https://pictures.example:8443/a%20b.png?Expires=1&Signature=x%2By", (), (443, 8443))
    assert (url.host, url.port, url.raw_path) == ("pictures.example", 8443, b"/a%20b.png?Expires=1&Signature=x%2By")


def test_an_exception_holds_for_its_host_and_port_only():
    allowed = ("127.0.0.1:9000",)
    assert parse_media_url("http://127.0.0.1:9000/x", allowed).port == 9000
    for url in ("http://127.0.0.1:9001/x", "http://127.0.0.1/x", "http://127.0.0.2:9000/x"):
        with pytest.raises(InvalidURL):
            parse_media_url(url, allowed)


@pytest.mark.parametrize("url", ["http://a.example:22/", "https://a.example:8443/", "http://a.example:65535/"])
def test_other_ports_are_refused_unless_they_are_listed(url):
    with pytest.raises(InvalidURL, match="port 80 or 443"):
        parse_media_url(url, ())
    listed = parse_media_url(url, (), (22, 8443, 65535))
    assert listed.host == "a.example"
    assert parse_media_url(url, (f"a.example:{listed.port}",)).port == listed.port


@pytest.mark.parametrize("url", ["http://a.example/", "https://a.example:443/", "https://a.example:80/"])
def test_the_usual_ports_pass(url):
    assert parse_media_url(url, ()).host == "a.example"
