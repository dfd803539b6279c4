"""Requests as no honest client sends them, as raw bytes: seeded, so that request N of a seed is always the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CREATE = b"/api/v1/services/aigc/video-generation/video-synthesis"
MODELS = [f"happyhorse-1.{minor}-{mode}" for minor in (0, 1) for mode in ("t2v", "i2v", "r2v", "video-edit")]
TASK = "0385dc79-5ff8-4d82-bcb6-000000000001"


@dataclass(frozen=True)
class BadRequest:
    """What is written, piece by piece with a pause between; `leaves` closes the connection without an answer."""

    kind: str
    pieces: tuple[bytes, ...]
    pause_seconds: float = 0.0
    leaves: bool = False


def bad_request(seed: int, index: int) -> BadRequest:
    """Request `index` of a seed."""
    luck = random.Random(f"{seed}/{index}")
    kind = luck.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
    made = KINDS[kind][0](luck)
    return made if isinstance(made, BadRequest) else BadRequest(kind, (made,))


def message(
    body: bytes = b"",
    method: bytes = b"POST",
    path: bytes = CREATE,
    extra: tuple[bytes, ...] = (),
    leave_out: tuple[bytes, ...] = (),
) -> bytes:
    """A whole request; `extra` are header lines, `leave_out` the beginnings of those to drop."""
    lines = [
        b"Host: 127.0.0.1",
        b"Connection: close",
        b"Authorization: Bearer any",
        b"X-DashScope-Async: enable",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
    ]
    kept = [line for line in lines if not line.startswith(leave_out)] if leave_out else lines
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method, path), *kept, *extra, b"", body])


def good_body(luck: random.Random) -> dict[str, Any]:
    """A create that would be accepted."""
    media = {
        "i2v": [{"type": "first_frame", "url": "http://pictures.invalid/1.png"}],
        "r2v": [{"type": "reference_image", "url": "http://pictures.invalid/1.png"}] * 2,
    }
    model = luck.choice(["happyhorse-1.0-t2v", "happyhorse-1.1-t2v", "happyhorse-1.0-i2v", "happyhorse-1.1-r2v"])
    given: dict[str, Any] = {"prompt": "a red ball", "dialogue": "Hallo", "media": media.get(model[-3:], [])}
    parameters = {"resolution": "720P", "ratio": "1:1", "duration": 3, "seed": 7, "watermark": True}
    return {"model": model, "input": given, "parameters": parameters}


def hostile_value(luck: random.Random) -> Any:
    """A value that hardly any field takes."""
    return luck.choice(HOSTILE)(luck)


HOSTILE: list[Callable[[random.Random], Any]] = [
    lambda luck: luck.choice([None, True, False, [], {}, "", 0, -1, 1.5, -0.0]),
    lambda luck: luck.choice([2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, float("nan"), float("inf")]),
    lambda luck: luck.choice(["\x00", "\ud800", "\udfff\ud800", "a\x00b", "\ufeff", "\u202e", "\U0001f40e" * 50]),
    lambda luck: "x" * luck.choice([129, 5001, 70_000]),
    lambda luck: luck.choice(
        ["马", "e\u0301", "%00", "../../etc/passwd", "'; DROP TABLE tasks; --", "${jndi:ldap://x}"]
    ),
    lambda luck: luck.choice(["NaN", "1e5", " 5", "5 ", "٣", "0x10", "\uff11\uff12"]),
    lambda luck: [[]] * luck.randint(1, 2000),
    lambda luck: {str(n): n for n in range(luck.randint(1, 2000))},
    lambda luck: nested(luck.randint(2, 150)),
    lambda luck: luck.choice(URLS),
]
URLS = [
    "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "oss://x/y",
    "http://0x7f000001/", "http://2130706433/", "http://a@127.0.0.1/", "http://[::ffff:10.0.0.1]/", "gopher://x",
    "http://\u2488/", "http://" + "a" * 300, "http://x:99999/", "http://x:0/", "http://", "//x/y", "http://x\r\nA: b/",
    "data:image/png;base64,", "data:image/png;base64,####", "data:text/html;base64,AAAA", "data:image/png,AAAA",
    "data:image/svg+xml;base64,AAAA", "data:video/mp4;base64,AAAA", "data:" + "image/" * 50, "http://pictures.invalid/",
]  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


def bad_field(luck: random.Random) -> bytes:
    """A good create with one to three values exchanged, or keys removed or added."""
    body = good_body(luck)
    for _ in range(luck.randint(1, 3)):
        where = luck.choice([body, body.get("input"), body.get("parameters"), first_media(body)])
        if not isinstance(where, dict):
            continue
        name = luck.choice(
            [*where, "model", "input", "parameters", "media", "deadline_seconds", "language", "webhook_url"]
        )
        if luck.random() < 0.15:
            where.pop(name, None)
        else:
            where[name] = hostile_value(luck)
    return message(json.dumps(body, ensure_ascii=luck.random() < 0.7).encode("utf-8", "surrogatepass"))


def first_media(body: dict[str, Any]) -> Any:
    media = body["input"].get("media") if isinstance(body.get("input"), dict) else None
    return media[0] if isinstance(media, list) and media else None


def bad_json(luck: random.Random) -> bytes:
    """A body that is no JSON object, or hardly one."""
    text, depth = json.dumps(good_body(luck)), luck.choice([90, 400, 990])
    deep = b"[" * depth + b"]" * depth
    return message(
        luck.choice(
            [
                b"", b" \n", b"null", b"[]", b"5", b'"text"', b"{", b"NaN", b"\xff\xfe", b"\x00" * 100,
                text[: luck.randint(1, len(text) - 1)].encode(),
                text.encode() + luck.choice([b"}", b"x", b"\x00", b",", b"{}"]),
                b"\xef\xbb\xbf" + text.encode(),
                text.encode("utf-16"),
                text.replace("a red ball", "\xe9").encode("latin-1"),
                text[:-1].encode() + b', "model": 5, "model": "happyhorse-1.0-t2v"}',
                text[:-1].encode() + b', "input": {"prompt": "twice"}}',
                text.replace('"duration": 3', '"duration": ' + "9" * luck.choice([20, 5000])).encode(),
                text.replace('"duration": 3', '"duration": 3.0000000000000001').encode(),
                text[:-1].encode() + b', "filler": ' + deep + b"}",
                b"[" * luck.choice([100, 5000, 200_000]),
                b'{"a":' * luck.choice([100, 5000, 100_000]),
                b"a=b&model=x",
            ]
        )
    )  # fmt: skip


def bad_header(luck: random.Random) -> bytes:
    """A good create under headers that are missing, twice, too long or malformed."""
    body = json.dumps(good_body(luck)).encode()
    lines = [
        b"Authorization: Basic YTpi", b"Authorization: Bearer", b"Authorization: Bearer " + b"k" * 4000,
        b"Authorization: bearer \xff\xfe", b"X-DashScope-Async: disable", b"Idempotency-Key: " + b"k" * 129,
        b"Idempotency-Key: \x7f", b"Idempotency-Key: a b", b"Idempotency-Key:", b"X-Request-Id: \xff" + b"r" * 100,
        b"X-Request-Id: ../../x", b"Content-Type: text/plain", b"Content-Type: multipart/form-data",
        b"Content-Type: application/json; charset=utf-16", b"Content-Type: \x01", b"Host: evil.example",
        b"Host: 127.0.0.1:99999999", b"Host: [::1", b"Cookie: " + b"c=1; " * 2000, b"X-Long: " + b"x" * 90_000,
        b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-Host: evil.example", b"Expect: 100-continue", b"Upgrade: websocket",
        b"Accept-Encoding: gzip", b"Content-Encoding: gzip", b"X-DashScope-WorkSpace: \xff" * 3,
        b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Transfer-Encoding: x",
        b"No colon here", b": no name", b" folded", b"A\x00B: c", b"Range: bytes=9-1,-5,x", b"If-Range: \xff",
    ]  # fmt: skip
    extra = tuple(luck.sample(lines, luck.randint(1, 3)))
    extra += (b"X-Many: 1",) * luck.choice([0, 0, 0, 200])
    dropped = (luck.choice([b"Host", b"Auth", b"X-DashScope", b"Content-Type", b"Content-Length", b"none"]),)
    return message(body, extra=extra, leave_out=dropped)


def bad_path(luck: random.Random) -> bytes:
    """A query, list, cancel or download of what cannot be there."""
    segment = luck.choice(
        [
            b"..", b"%2e%2e%2f%2e%2e%2fetc%2fpasswd", b"%00", b"%ff%fe", b"%", b"%zz", b"a" * 9000, b"'", b"%0d%0aX:1",
            TASK.encode(), TASK.upper().encode(), TASK.replace("-", "").encode(), b"*", b"%F0%9F%90%8E", b"\xff\xfe",
            b"",
        ]
    )  # fmt: skip
    query = luck.choice(
        [
            b"", b"?page_no=0", b"?page_no=-1&page_size=1e9", b"?page_size=999999999999999999999", b"?status=DANCING",
            b"?status=%00", b"?start_time=99999999999999", b"?start_time=00000000000000", b"?end_time=2026",
            b"?model_name=%ff",
            b"?page_no=1&page_no=x", b"?task_id=" + segment[:50], b"?" + b"a=1&" * 3000, b"?running=maybe",
            b"?running=true",
            b"?Expires=9999999999&Signature=" + b"0" * 64, b"?Expires=-1", b"?limit=-1&order=up", b"?after=%00",
            b"?variant=../../x", b"?action=getPolicy&model=%00",
        ]
    )  # fmt: skip
    path = luck.choice(
        [
            b"/api/v1/tasks/%s", b"/api/v1/tasks/%s/", b"/api/v1/tasks/%s/cancel", b"/artifacts/%s",
            b"/artifacts/clips/%s/1.mp4",
            b"/api/v1/tasks%s", b"/%s", b"//%s", b"/v1/videos/%s", b"/v1/videos/%s/content", b"/v1/videos/%s/events",
            b"/v1/videos%s", b"/api/v1/uploads%s", b"/healthz%s", b"/metrics%s", b"/openapi.json%s",
            b"http://evil.example/%s",
        ]
    )  # fmt: skip
    method = (
        b"POST"
        if path.endswith(b"cancel") and luck.random() < 0.7
        else luck.choice([b"GET", b"GET", b"HEAD", b"DELETE"])
    )
    return message(method=method, path=(path % segment) + query)


def bad_method(luck: random.Random) -> bytes:
    """A method that the path does not have, or no method at all."""
    methods = [
        b"PUT",
        b"PATCH",
        b"TRACE",
        b"OPTIONS",
        b"CONNECT",
        b"PROPFIND",
        b"get",
        b"FOO",
        b"M" * 5000,
        b"",
        b"G\x00T",
    ]
    path = luck.choice(
        [CREATE, b"/api/v1/tasks", b"/v1/videos", b"/healthz", b"*", b"/api/v1/tasks/%s" % TASK.encode()]
    )
    version = luck.choice([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/9.9", b"", b" HTTP/2.0"])
    whole = message(b"{}", method=luck.choice(methods), path=path)
    return whole.replace(b" HTTP/1.1", version, 1)


def bad_chunks(luck: random.Random) -> BadRequest:
    """A chunked body, well-formed or not."""
    body = json.dumps(good_body(luck)).encode()
    head = message(extra=(b"Transfer-Encoding: chunked",), leave_out=(b"Content-Length",))
    if luck.random() < 0.2:
        head = message(extra=(b"Transfer-Encoding: chunked",))  # both: which one counts?
    size = luck.randint(1, 60)
    chunks = [
        b"%x\r\n%s\r\n" % (len(part), part) for part in (body[at : at + size] for at in range(0, len(body), size))
    ]
    last = luck.choice(
        [
            b"0\r\n\r\n",
            b"0\r\nX-Trailer: 1\r\n\r\n",
            b"zz\r\n",
            b"-5\r\n",
            b"ffffffffffffffffff\r\n",
            b"3\r\nab\r\n0\r\n\r\n",
        ]
    )
    if luck.random() < 0.3:
        return BadRequest("bad_chunks", (head + b"".join(chunks[:3]),), leaves=True)
    return BadRequest("bad_chunks", (head, b"".join(chunks) + last))


def slow_body(luck: random.Random) -> BadRequest:
    """A body that comes in drops; some senders leave in the middle of it."""
    whole = message(json.dumps(good_body(luck) | {"model": luck.choice(["nonsense", "happyhorse-1.0-t2v"])}).encode())
    cuts = sorted(luck.sample(range(1, len(whole)), 6))
    pieces = tuple(whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True))
    leaves = luck.random() < 0.4
    whole_sent = not leaves or luck.random() < 0.2  # who leaves after the last piece may have made a task
    return BadRequest("slow_body", pieces if whole_sent else pieces[:-1], luck.choice([0.0, 0.005, 0.02]), leaves)


def bad_form(luck: random.Random) -> bytes:
    """A multipart form, whole or broken, sent where one is read and where none is."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na horse\r\n',
        b'--x\r\nContent-Disposition: form-data; name="seconds"\r\n\r\n%s\r\n'
        % luck.choice([b"0", b"NaN", b"\xff", b"4" * 5000]),
        b'--x\r\nContent-Disposition: form-data; name="input_reference"; filename="../../a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n" + bytes(luck.randint(0, 300)) + b"\r\n",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n",
        b'--x\r\nContent-Disposition: form-data; name="' + b"n" * 20_000 + b'"\r\n\r\n1\r\n',
        b"--x\r\nNo colon\r\n\r\n1\r\n",
        b'--x\r\nContent-Disposition: form-data; name="size"\r\n\r\n\x00\xff\r\n',
    ]
    body = b"".join(luck.choices(parts, k=luck.randint(0, 5))) + luck.choice([b"--x--\r\n", b"", b"--x", b"--y--\r\n"])
    kind = luck.choice(
        [b"; boundary=x", b"; boundary=x", b"", b"; boundary=", b"; boundary=" + b"b" * 300, b"; boundary=\xff"]
    )
    extra = (b"Content-Type: multipart/form-data" + kind,)
    return message(body, path=luck.choice([b"/v1/videos", CREATE]), extra=extra, leave_out=(b"Content-Type",))


def big_body(luck: random.Random) -> bytes:
    """A body over a limit: of fields, of keys, of one picture."""
    filler = luck.choice(["x", "马", "\\u0000", "A"]) * 700_000
    body = good_body(luck)
    luck.choice([body["input"], body["parameters"], body])["filler"] = filler
    return message(json.dumps(body).encode())


def good_create(luck: random.Random) -> bytes:
    """Nothing wrong with it, but for some keys that are used twice."""
    extra = (b"Idempotency-Key: k%d" % luck.randint(0, 40),) if luck.random() < 0.5 else ()
    return message(json.dumps(good_body(luck)).encode(), extra=extra)


KINDS: dict[str, tuple[Callable[[random.Random], bytes | BadRequest], float]] = {
    "bad_field": (bad_field, 34),
    "bad_json": (bad_json, 12),
    "bad_header": (bad_header, 12),
    "bad_path": (bad_path, 16),
    "bad_method": (bad_method, 5),
    "bad_chunks": (bad_chunks, 6),
    "slow_body": (slow_body, 4),
    "bad_form": (bad_form, 7),
    "big_body": (big_body, 0.3),
    "good_create": (good_create, 3),
}
