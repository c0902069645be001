"""Contexts for TLS, as they should be: certificates are checked, and old protocols are off."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import TypeVar

from hubbub.kernel import ConfigurationError

T = TypeVar("T")

Path = str | os.PathLike[str]


def server_tls(
    certificate: Path, key: Path | None = None, *, client_ca: Path | None = None
) -> ssl.SSLContext:
    """Return the context for a server.

    Args:
        certificate: A PEM file with the server's certificate and those that lead to its root.
        key: A PEM file with its private key, if that is not in the same file.
        client_ca: A PEM file: only clients with a certificate that one of these has signed are let in. Their graphs
            are told whose it is (`Peer.certificate`).

    Raises:
        ConfigurationError: If a file can't be read, or is not what it should be; names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(lambda: context.load_cert_chain(certificate, key, ""), certificate, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load(lambda: context.load_verify_locations(client_ca), client_ca)
    return context


def client_tls(
    ca: Path | None = None, *, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return the context for a client. The server's certificate and its name are always checked.

    Args:
        ca: A PEM file with the certificates that are trusted; those of the system if it is left out.
        certificate: A PEM file with a certificate of the client's own, for servers that ask for one.
        key: A PEM file with its private key, if that is not in the same file.

    Raises:
        ConfigurationError: If a file can't be read, or is not what it should be; names it.
    """
    context = (
        ssl.create_default_context()
        if ca is None
        else _load(lambda: ssl.create_default_context(cafile=ca), ca)
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        _load(lambda: context.load_cert_chain(certificate, key, ""), certificate, key)
    return context


def _load(load: Callable[[], T], file: Path, key: Path | None = None) -> T:
    """Return what ``load`` returns; say which file it is that can't be loaded."""
    for path in (file, key):
        if path is not None:
            try:
                with open(path, "rb"):  # noqa: PTH123 - a plain name will do
                    pass
            except OSError as error:
                raise ConfigurationError(
                    f"the PEM file {os.fspath(path)} can't be read: {error.strerror}"
                ) from error
    try:
        return load()
    except ssl.SSLError as error:
        beside = f" with the key in {os.fspath(key)}" if key is not None else ""
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigurationError(
            f"{os.fspath(file)}{beside} is not the PEM file that is needed here: {why}"
        ) from error
