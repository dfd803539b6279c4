"""One signed GET by AWS Signature Version 4, for what the client library has no call for: a bucket's own settings.

Source: "Signature Version 4 signing process" of the Amazon S3 API reference (authorization header, unsigned body).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote

from hhray.s3_settings import S3Settings

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def signed_headers(settings: S3Settings, host: str, path: str, query: dict[str, str], at: datetime) -> dict[str, str]:
    """Headers of a GET without a body. `at` is UTC."""
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    headers = {"host": host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": stamp}
    if token := settings.session_token.get_secret_value():
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    asked = "&".join(f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"GET\n{quote(path)}\n{asked}\n{lines}\n{names}\n{_EMPTY_SHA256}"
    scope = f"{day}/{settings.region}/s3/aws4_request"
    message = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{settings.secret_access_key.get_secret_value()}".encode()
    for part in (day, settings.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
    credential = f"{settings.access_key_id.get_secret_value()}/{scope}"
    told = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": told}
