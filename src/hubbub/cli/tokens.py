"""``hubbub token``: what lets peers in."""

from __future__ import annotations

import time
from pathlib import Path

import click

from hubbub.cli.examples import examples
from hubbub.kernel import ConfigurationError
from hubbub.kernel.durations import seconds_of
from hubbub.perspective.tokens import Token, TokensFile, tokens_path

_DATA = click.option(
    "--data",
    "-d",
    metavar="PATH",
    help="The space whose host this is, such as chat.hub. It need not exist yet, and may be in use.",
)
_CONFIG = click.option(
    "--config", metavar="FILE", help="The file by which the host is served: hubbub serve --config."
)


def _tokens(data: str | None, config: str | None) -> tuple[TokensFile, tuple[str, ...]]:
    """Return the tokens of a host, and its spaces as far as they are known.

    Raises:
        ConfigurationError: If there can't be any.
    """
    if (data is None) is (config is None):
        raise click.UsageError("say whose host it is: --data PATH, or --config FILE")
    if config is not None:
        from hubbub.serving import read_configuration

        read = read_configuration(config)
        return TokensFile(read.tokens_path), tuple(read.spaces)
    assert data is not None
    if data == "memory:" or "://" in data:
        raise ConfigurationError(
            f"--data takes the file of a space, not {data!r}: tokens are kept beside it, so work where the host runs"
        )
    folder = Path(data).resolve().parent
    if not folder.is_dir():
        raise ConfigurationError(f"the folder {folder} does not exist; is --data right?")
    return TokensFile(tokens_path(data)), ()


@click.group(
    epilog=examples(
        "hubbub token add front-end --data shop.hub",
        "hubbub token add report --read-only --expires 30d --data shop.hub",
        "hubbub token add worker --subject CN=worker --config hub.toml    a certificate's owner",
        "hubbub token list --data shop.hub",
        "hubbub token remove report --data shop.hub",
    )
)
def token() -> None:
    """Add, list and remove what peers show to mount a space.

    From the first token on, the host asks each peer for one.
    """


@token.command()
@click.argument("name")
@_DATA
@_CONFIG
@click.option("--read-only", is_flag=True, help="Its holder may read, and not write.")
@click.option(
    "--space",
    "-s",
    "spaces",
    metavar="SPACE",
    multiple=True,
    help="It is valid in this space only; may be given several times.  [default: in all]",
)
@click.option(
    "--expires",
    metavar="TIME",
    help="It is valid for so long, such as 12h or 30d.  [default: until it is removed]",
)
@click.option(
    "--subject",
    metavar="SUBJECT",
    default="",
    help="No token: let in whose client certificate says this, such as CN=worker,O=Shop.",
)
def add(
    name: str,
    data: str | None,
    config: str | None,
    read_only: bool,
    spaces: tuple[str, ...],
    expires: str | None,
    subject: str,
) -> None:
    """Add NAME, and print its token. It is shown this once: only a hash of it is kept."""
    tokens, known = _tokens(data, config)
    for space in spaces:
        if not known:
            raise click.UsageError(
                "--space goes with --config: a host that is served by --data has one space"
            )
        if space not in known:
            raise ConfigurationError(f"{config} has no space {space!r}: it has {', '.join(known)}")
    lifetime_s = seconds_of(expires) if expires is not None else None
    secret = tokens.add(
        name, read_only=read_only, spaces=spaces, lifetime_s=lifetime_s, subject=subject
    )
    if secret:
        click.echo(secret)
        click.echo(f"This is the token {name}. Keep it: it is not shown again.", err=True)
    else:
        click.echo(f"Whose certificate says {subject} can mount.")


@token.command(name="list")
@_DATA
@_CONFIG
def list_(data: str | None, config: str | None) -> None:
    """List the tokens: name, rights, spaces, until when. The secrets are known to nobody."""
    tokens, _ = _tokens(data, config)
    found = tokens.listed()
    now = time.time()
    for name, one in found:
        click.echo(_line(name, one, now))
    if not found:
        where = f" --data {data}" if data else f" --config {config}" if config else ""
        click.echo(f"There are no tokens yet. Add one: hubbub token add NAME{where}", err=True)


@token.command()
@click.argument("name")
@_DATA
@_CONFIG
def remove(name: str, data: str | None, config: str | None) -> None:
    """Take the token NAME back. Peers that are connected by it are cut off within seconds."""
    tokens, _ = _tokens(data, config)
    if not tokens.remove(name):
        raise ConfigurationError(
            f"there is no token {name!r}; hubbub token list shows what there is"
        )
    click.echo(f"{name} lets nobody in any more.")


def _line(name: str, token: Token, now: float) -> str:
    where = ", ".join(token.spaces) or "all spaces"
    if not token.expires:
        until = "until removed"
    else:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(token.expires))
        until = f"expired {day}" if token.has_expired(now) else f"until {day}"
    by = f"  certificate {token.subject}" if token.subject else ""
    return f"{name:<20} {token.rights:<10} {where:<20} {until}{by}"
