"""``hubbub serve``: run an application, or a bare space for peers."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from hubbub.app import Hub
from hubbub.cli.addresses import LISTEN, WEB
from hubbub.cli.examples import examples
from hubbub.cli.loading import load_module, module_of
from hubbub.cli.logs import set_up_logs
from hubbub.gateway.binding import is_unix
from hubbub.kernel import ConfigurationError
from hubbub.perspective.tokens import tokens_path
from hubbub.serving import (
    ListenPlan,
    Plan,
    Public,
    Serving,
    SpacePlan,
    TLSPlan,
    read_configuration,
)

log = logging.getLogger("hubbub.serve")


@click.command(
    epilog=examples(
        "hubbub serve chat:hub --data chat.hub",
        "hubbub serve chat:hub --web 127.0.0.1:8080 --listen 127.0.0.1:1976",
        "hubbub serve chat:hub --listen /run/chat.sock",
        "hubbub serve --data counts.hub            no application: the bare space, for peers",
        "hubbub serve --data cds.hub --listen 0.0.0.0:1975 --public read-only",
        "hubbub serve --config hub.toml            several spaces, and all else, by a file",
    )
)
@click.argument("application", required=False)
@click.option(
    "--config",
    metavar="FILE",
    help="Serve what this TOML file says; only --check and -v go with it.",
)
@click.option("--check", is_flag=True, help="Look whether FILE makes sense, say so, and leave.")
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
    default=[LISTEN],
    show_default=True,
    multiple=True,
    help="Address for users and peers: HOST:PORT, or a path for a Unix socket; 'none' for none. "
    "May be given several times.",
)
@click.option(
    "--token",
    metavar="SECRET",
    envvar="HUBBUB_TOKEN",
    help="What peers have to show; better in the variable HUBBUB_TOKEN. Better still, make one for each: "
    "hubbub token add.  [default: nothing]",
)
@click.option(
    "--cert", metavar="FILE", help="Speak TLS (hubs://) at HOST:PORT of --listen: our certificate."
)
@click.option("--key", metavar="FILE", help="Its private key, if that is not in the same file.")
@click.option(
    "--client-ca",
    metavar="FILE",
    help="Believe certificates of clients that these have signed; see hubbub token add --subject.",
)
@click.option(
    "--public",
    metavar="[WHAT]",
    is_flag=False,
    flag_value=Public.USERS.value,
    help="Let other machines in though nobody is asked for a password or token: 'users' (if nothing is said), "
    "'read-only' for peers that read the space, or 'all'.",
)
@click.option("--dev", is_flag=True, help="Raise an error where a command or query blocks.")
@click.option(
    "--reload", is_flag=True, help="Start again when a Python file changes; implies --dev."
)
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
@click.pass_context
def serve(
    context: click.Context,
    application: str | None,
    config: str | None,
    check: bool,
    data: str | None,
    web: str,
    listen: tuple[str, ...],
    token: str | None,
    cert: str | None,
    key: str | None,
    client_ca: str | None,
    public: str | None,
    dev: bool,
    reload: bool,
    verbose: bool,
) -> None:
    """Serve APPLICATION until Ctrl-C or SIGTERM.

    APPLICATION is module:attribute, such as chat:hub for the object 'hub' in chat.py. Without one the bare space is
    served to peers, who mount it by hubbub.open("hub://HOST:PORT").
    """
    if config is not None:
        _only_with_config(context)
        sys.exit(_serve_configuration(config, check=check, verbose=verbose, dev=dev))
    if check:
        raise click.UsageError("--check goes with --config")
    set_up_logs(verbose)
    if reload:
        sys.exit(_reloading())
    if public is not None and public not in list(Public) and application is None:
        application, public = public, Public.USERS  # `--public chat:hub`: the word was not for it
    if public is not None and public not in list(Public):
        raise click.UsageError(f"--public takes users, read-only or all, not {public!r}")
    tls = None
    if cert is not None:
        tls = TLSPlan(certificate=cert, key=key, client_ca=client_ca)
        tls.context()
    elif key is not None or client_ca is not None:
        raise click.UsageError("--key and --client-ca go with --cert")
    hub = load_hub(application) if application else Hub()
    module_name = module_of(application)[0] if application else "hubbub"
    default = f"{module_name.rpartition('.')[2]}.hub"
    where = data or hub.data or os.environ.get("HUBBUB_DATA") or default
    if where.endswith(("-accounts", "-tokens")):
        raise ConfigurationError(f"{where} is a file of accounts or tokens: it is no space")
    plan = plan_of(
        hub,
        where,
        web if application else "none",
        listen,
        token=token,
        tls=tls,
        public=Public(public or Public.NO),
    )
    sys.exit(run_plan(plan, dev=dev))


def _only_with_config(context: click.Context) -> None:
    """Refuse options that the file would have to say: two places would contradict each other."""
    allowed = ("config", "check", "verbose", "dev")
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in allowed and source is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} is said by the file of --config")


def _serve_configuration(path: str, *, check: bool, verbose: bool, dev: bool) -> int:
    set_up_logs(verbose)
    configuration = read_configuration(path)
    directory = str(Path(path).resolve().parent)
    if directory not in sys.path:
        sys.path.insert(0, directory)  # where its applications are
    plan = configuration.plan(load_hub)
    if check:
        names = ", ".join(space.name for space in plan.spaces)
        where = ", ".join(listen.address for listen in plan.listen) or "no address"
        click.echo(f"{path} makes sense: {names} at {where}")
        return 0
    level = "debug" if verbose else configuration.sections.logging.level
    set_up_logs(verbose, level=level, file=configuration.log_file)
    return run_plan(plan, dev=dev)


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


def plan_of(
    hub: Hub,
    data: str,
    web: str,
    listen: Sequence[str],
    *,
    token: str | None = None,
    tls: TLSPlan | None = None,
    public: Public = Public.NO,
) -> Plan:
    """Return the plan for one hub; ``none`` stands for no address."""
    return Plan(
        spaces=[
            SpacePlan(hub=hub, data=data, web=None if web == "none" else web, public=public),
        ],
        listen=[
            ListenPlan(address, tls is not None and not is_unix(address))
            for address in listen
            if address != "none"
        ],
        tls=tls,
        secret=token or "",
        tokens=None if data == "memory:" else tokens_path(data),
        limits=hub.limits,
    )


def run_plan(plan: Plan, *, dev: bool = False, announce: Any = None) -> int:
    """Serve until SIGINT or SIGTERM, then drain. Return the exit status."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        serving = Serving(plan)
        await serving.start(dev=dev)
        try:
            _collect_seldom()
            (announce or _announce)(serving)
            await stop.wait()
            log.info("stopping: no new work, finishing what was begun")
        finally:
            serving.stop_accepting()
            await serving.stop()
        where = ", ".join(space.data for space in plan.spaces)
        log.info("stopped; everything acknowledged is in %s", where)

    _raise_descriptors(plan.limits.max_connections)
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


def _announce(serving: Serving) -> None:
    for space in serving.plan.spaces:
        where = "memory only" if space.data == "memory:" else str(Path(space.data).resolve())
        log.info("space%s: %s", f" {space.name}" if space.name else "", where)
    for url in filter(None, serving.web_urls):
        log.info("web page: %s", url)
    for url in serving.listen_urls:
        log.info("users and peers: %s", url)
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
