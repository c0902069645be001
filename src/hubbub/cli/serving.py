"""``hubbub serve``: run an application, or a bare space for peers."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from hubbub.app import Hub
from hubbub.cli.addresses import LISTEN, WEB
from hubbub.cli.examples import examples
from hubbub.cli.loading import load_module, module_of
from hubbub.cli.logs import set_up_logs
from hubbub.kernel import ConfigurationError
from hubbub.serving import Serving

log = logging.getLogger("hubbub.serve")


@click.command(
    epilog=examples(
        "hubbub serve chat:hub --data chat.hub",
        "hubbub serve chat:hub --web 127.0.0.1:8080 --listen 127.0.0.1:1976",
        "hubbub serve chat:hub --listen /run/chat.sock",
        "hubbub serve --data counts.hub            no application: the bare space, for peers",
    )
)
@click.argument("application", required=False)
@click.option(
    "--data",
    "-d",
    metavar="URL",
    help="Where the space is kept: a file, or memory:  [default: the module's name and .hub]",
)
@click.option(
    "--web",
    metavar="ADDR",
    default=WEB,
    show_default=True,
    help="Address of the web page: HOST:PORT; 'none' for none.",
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
    metavar="SECRET",
    envvar="HUBBUB_TOKEN",
    help="What peers have to show; better in the variable HUBBUB_TOKEN.  [default: nothing]",
)
@click.option(
    "--public",
    is_flag=True,
    help="Let other machines in though nobody is asked for a password or token.",
)
@click.option("--dev", is_flag=True, help="Raise an error where a command or query blocks.")
@click.option(
    "--reload", is_flag=True, help="Start again when a Python file changes; implies --dev."
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
    """Serve APPLICATION until Ctrl-C or SIGTERM.

    APPLICATION is module:attribute, such as chat:hub for the object 'hub' in chat.py. Without one the bare space is
    served to peers, who mount it by hubbub.open("hub://HOST:PORT").
    """
    set_up_logs(verbose)
    if reload:
        sys.exit(_reloading())
    hub = load_hub(application) if application else Hub()
    module_name = module_of(application)[0] if application else "hubbub"
    default = f"{module_name.rpartition('.')[2]}.hub"
    where = data or hub.data or os.environ.get("HUBBUB_DATA") or default
    sys.exit(
        run_hub(
            hub, where, web if application else "none", listen, token=token, public=public, dev=dev
        )
    )


def load_hub(application: str) -> Hub:
    """Return the hub that ``module:attribute`` (or ``file.py:attribute``) names.

    Raises:
        ConfigurationError: If there is no such module, attribute or hub, or the module can't be imported.
    """
    module = load_module(application)
    attribute = application.partition(":")[2] or "hub"
    hub = getattr(module, attribute, None)
    if not isinstance(hub, Hub):
        found = [name for name, value in vars(module).items() if isinstance(value, Hub)]
        hint = f"; did you mean {module.__name__}:{found[0]}?" if found else ""
        raise ConfigurationError(f"{module.__name__}.{attribute} is not a hubbub.Hub{hint}")
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
            _collect_seldom()
            (announce or _announce)(serving, data)
            await stop.wait()
            log.info("stopping: no new work, finishing what was begun")
        finally:
            serving.stop_accepting()
            await hub.stop()
            await serving.stop()
        log.info("stopped; everything acknowledged is in %s", data)

    _raise_descriptors(hub.limits.max_connections)
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
    return 0


def _collect_seldom() -> None:
    """Let Python look for cycles less often: messages and records have none, and each look takes time from all.

    What is loaded by now (modules, classes) stays for good and is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _raise_descriptors(connections: int) -> None:
    """Allow this process as many sockets as the hub's limits say, if the system lets it: 1,024 are common."""
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * connections + 1000
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ImportError, OSError, ValueError) as error:
        log.warning("can't raise the number of open files: %s", error)


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
            if child.poll() is None:
                log.info("%s changed: starting again", names)
                child.terminate()
            else:
                log.info("%s changed: trying again", names)
            child.wait()
            child = subprocess.Popen([sys.executable, "-m", "hubbub", *arguments])
    except KeyboardInterrupt:
        pass
    finally:
        child.terminate()
        child.wait()
    return 0
