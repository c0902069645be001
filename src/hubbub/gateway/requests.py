"""What a plain HTTP request asks: its credentials and arguments, out of headers, query and body."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from hubbub.kernel import InvalidArgumentsError, LoginFailedError, RemoteProtocolError
from hubbub.wire import session as wire

OPTIONS = frozenset({"wait", "after", "client", "name"})
"""Query parameters that are ours; everything else is an argument. An argument of such a name goes in a JSON body."""

_CULPRIT = re.compile(r"argument '([^']*)'")


def credentials_of(request: Request) -> dict[str, str]:
    """Return what the request shows of who it is: HTTP Basic or a bearer token, else a name and a key, if that.

    Raises:
        LoginFailedError: If its ``Authorization`` can't be read, or something of it is longer than a hello may say.
    """
    credentials = _credentials_of(request)
    if any(len(text) > wire.MAX_CREDENTIAL_CHARS for text in credentials.values()):
        raise LoginFailedError("a credential is too long", code="garbled")
    return credentials


def _credentials_of(request: Request) -> dict[str, str]:
    header = request.headers.get("authorization", "")
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise LoginFailedError(
                "the Authorization header can't be read", code="garbled"
            ) from None
        name, _, password = text.partition(":")
        return {"name": name, "password": password}
    if scheme.lower() == "bearer":
        return {"token": value.strip()}
    if header:
        raise LoginFailedError("log in with HTTP Basic or a bearer token", code="garbled")
    name = request.query_params.get("name") or request.headers.get("hubbub-name", "")
    # Whoever names a queue is the same anonymous user in each of its requests.
    key = request.query_params.get("client", "")
    return {k: v for k, v in (("name", name), ("key", key)) if v}


class Asked:
    """The arguments of a request, and how they may be read.

    Text out of a query or form says no type. It is read as JSON where it can be (``limit=20`` is a number), and
    otherwise as it stands; where a command then says that an argument does not fit (``text=20``), that one is taken as
    text. Nothing has run by then (PE1).
    """

    def __init__(self, args: list[Any], kwargs: dict[str, Any], texts: dict[str, str]) -> None:
        self.args = args
        self.kwargs = kwargs
        self._texts = texts

    @classmethod
    def of_texts(cls, pairs: Iterator[tuple[str, str]]) -> Asked:
        """Return the arguments of a query or form. A name that comes twice makes a list."""
        found: dict[str, list[str]] = {}
        for name, text in pairs:
            found.setdefault(name, []).append(text)
        kwargs: dict[str, Any] = {}
        texts: dict[str, str] = {}
        for name, several in found.items():
            values = [_lenient(text) for text in several]
            kwargs[name] = values if len(values) > 1 else values[0]
            if len(values) == 1 and values[0] != several[0]:
                texts[name] = several[0]
        return cls([], kwargs, texts)

    @classmethod
    def of_body(cls, body: bytes, content_type: str) -> Asked:
        """Return the arguments of a posted body: a JSON object, a JSON array, or a form.

        Raises:
            InvalidArgumentsError: If it is none.
            RemoteProtocolError: If it is of a kind that is not taken; code ``not_supported``.
        """
        kind = content_type.partition(";")[0].strip().lower()
        start = body.lstrip()[:1]
        # `curl -d` calls everything a form; a form never begins so.
        if start in (b"{", b"[") or kind == "application/json":
            return cls._of_json(body)
        if kind in ("application/x-www-form-urlencoded", ""):
            try:
                pairs = parse_qsl(body.decode(), keep_blank_values=True)
            except (UnicodeDecodeError, ValueError):
                raise InvalidArgumentsError("the form can't be read") from None
            return cls.of_texts(iter(pairs))
        raise RemoteProtocolError(f"send JSON or a plain form, not {kind}", code="not_supported")

    @classmethod
    def _of_json(cls, body: bytes) -> Asked:
        try:
            value = msgspec.json.decode(body) if body.strip() else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArgumentsError(f"the body is not JSON: {error}") from None
        if isinstance(value, dict):
            return cls([], value, {})
        if isinstance(value, list):
            return cls(value, {}, {})
        raise InvalidArgumentsError("the body has to be a JSON object with the arguments by name")

    def fits_better_after(self, failure: wire.Failure) -> bool:
        """Read the argument that ``failure`` complains of as text from now on. False: there is nothing else to try."""
        culprit = _CULPRIT.search(failure.message) if failure.kind == "invalid" else None
        text = self._texts.pop(culprit[1], None) if culprit else None
        if culprit is None or text is None:
            return False
        self.kwargs[culprit[1]] = text
        return True


def asked_in_query(request: Request) -> Asked:
    """Return the arguments in the query of ``request``."""
    pairs = (pair for pair in request.query_params.multi_items() if pair[0] not in OPTIONS)
    return Asked.of_texts(pairs)


def wait_of(request: Request, most_s: float) -> float | None:
    """Return the seconds of ``?wait=``, at most ``most_s``; None without it.

    Raises:
        InvalidArgumentsError: If it is no number.
    """
    text = request.query_params.get("wait")
    if text is None:
        return None
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if not wait_s >= 0:
        raise InvalidArgumentsError(f"wait is a number of seconds, not {text!r}", parameter="wait")
    return min(wait_s, most_s)


def _lenient(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text
