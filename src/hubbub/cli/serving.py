"""``hubbub serve``: run an application, or a bare space for peers."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from hubbub.app import Hub
from hubbub.cli.logs import set_up_logs
from hubbub.kernel import ConfigurationError
from hubbub.serving import Serving

WEB = "127.0.0.1:8000"
LISTEN = "127.0.0.1:1975"

log = logging.getLogger("hubbub.serve")


@click.command()
@click.argument("application", required=False)
@click.option(
    "--data",
    "-d",
    metavar="URL",
    help="Where the space is kept: a file, or memory: [default: NAME.hub]",
)
@click.option(
    "--web",
    metavar="ADDR",
    default=WEB,
    show_default=True,
    help="Address of the web page; 'none' for none.",
)
@click.option(
    "--listen",
    metavar="ADDR",
    default=LISTEN,
    show_default=True,
    help="Address for users and peers: HOST:PORT, or a path for a Unix socket; 'none' for none.",
)
@click.option(
    "--token",
    envvar="HUBBUB_TOKEN",
    help="What peers have to show [default: none needed on loopback]",
)
@click.option(
    "--public",
    is_flag=True,
    help="Allow addresses that are not loopback without a checker or a token.",
)
@click.option("--dev", is_flag=True, help="Raise an error where a command blocks.")
@click.option(
    "--reload", is_flag=True, help="Start again when a source file changes (implies --dev)."
)
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
def serve(
    application: str | None,
    data: str | None,
    web: str,
    listen: str,
    token: str | None,
    public: bool,
    dev: bool,
    reload: bool,
    verbose: bool,
) -> None:
    """Serve APPLICATION, such as chat:hub (module:attribute).

    Without an application the bare space is served to peers: hubbub.open("hub://HOST:PORT").
    """
    set_up_logs(verbose)
    if reload:
        sys.exit(_reloading())
    hub = load_hub(application) if application else Hub()
    default = (
        f"{application.partition(':')[0].rpartition('.')[2]}.hub" if application else "hubbub.hub"
    )
    where = data or hub.data or os.environ.get("HUBBUB_DATA") or default
    sys.exit(
        run_hub(
            hub, where, web if application else "none", listen, token=token, public=public, dev=dev
        )
    )


def load_hub(application: str) -> Hub:
    """Return the hub that ``module:attribute`` names.

    Raises:
        ConfigurationError: If there is no such module, attribute or hub.
    """
    module_name, _, attribute = application.partition(":")
    attribute = attribute or "hub"
    if module_name.endswith(".py"):
        module_name = module_name[:-3].replace("/", ".")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise
        raise ConfigurationError(
            f"there is no module {module_name!r} here ({Path.cwd()}); "
            "run it in the directory of your application, or give module:attribute"
        ) from None
    hub = getattr(module, attribute, None)
    if not isinstance(hub, Hub):
        found = [name for name, value in vars(module).items() if isinstance(value, Hub)]
        hint = f"; did you mean {module_name}:{found[0]}?" if found else ""
        raise ConfigurationError(f"{module_name}.{attribute} is not a hubbub.Hub{hint}")
    return hub


def run_hub(
    hub: Hub,
    data: str,
    web: str,
    listen: str,
    *,
    token: str | None = None,
    public: bool = False,
    dev: bool = False,
    announce: Any = None,
) -> int:
    """Run ``hub`` until SIGINT or SIGTERM, then drain. Return the exit status."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await hub.start(data=data, dev=dev)
        serving = Serving(
            hub,
            web=None if web == "none" else web,
            listen=None if listen == "none" else listen,
            token=token or "",
            public=public,
        )
        try:
            await serving.start()
            (announce or _announce)(serving, data)
            await stop.wait()
            log.info("stopping: no new work, finishing what was begun")
        finally:
            serving.stop_accepting()
            await hub.stop()
            await serving.stop()
        log.info("stopped; everything acknowledged is in %s", data)

    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
    return 0


def _announce(serving: Any, data: str) -> None:
    where = "memory only" if data == "memory:" else str(Path(data).resolve())
    log.info("space: %s", where)
    if serving.web_url:
        log.info("web page: %s", serving.web_url)
    if serving.listen_url:
        log.info("users and peers: %s", serving.listen_url)
    log.info("Ctrl-C stops it")


def _reloading() -> int:
    """Run the same command without --reload in a child, again and again as files change."""
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise ConfigurationError(
            "--reload needs watchfiles: pip install 'hubbub[reload]'"
        ) from None
    arguments = [a for a in sys.argv[1:] if a != "--reload"]
    if "--dev" not in arguments:
        arguments.append("--dev")
    child = subprocess.Popen([sys.executable, "-m", "hubbub", *arguments])
    try:
        for changes in watch(".", watch_filter=PythonFilter(), raise_interrupt=True):
            names = ", ".join(sorted({Path(path).name for _, path in changes}))
            log.info("%s changed: starting again", names)
            child.terminate()
            child.wait()
            child = subprocess.Popen([sys.executable, "-m", "hubbub", *arguments])
    except KeyboardInterrupt:
        pass
    finally:
        child.terminate()
        child.wait()
    return 0
