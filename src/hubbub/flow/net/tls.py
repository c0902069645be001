"""Contexts for TLS, as they should be: certificates are checked, and old protocols are off."""

from __future__ import annotations

import os
import ssl

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
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


def client_tls(
    ca: Path | None = None, *, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return the context for a client. The server's certificate and its name are always checked.

    Args:
        ca: A PEM file with the certificates that are trusted; those of the system if it is left out.
        certificate: A PEM file with a certificate of the client's own, for servers that ask for one.
        key: A PEM file with its private key, if that is not in the same file.
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
