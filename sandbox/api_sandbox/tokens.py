"""What tokens look like, and how requests show them."""

import hmac
from base64 import urlsafe_b64encode
from typing import Any

import msgspec


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header; empty if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def jwt(secret: bytes, claims: dict[str, Any]) -> str:
    """A signed JSON Web Token (RFC 7519)."""
    text = ".".join(_base64(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{_base64(hmac.digest(secret, text.encode(), 'sha256'))}"


def media_type(content_type: str | None) -> str:
    """A Content-Type without its parameters, in small letters."""
    return (content_type or "").partition(";")[0].strip().lower()


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
