"""``hubbub flow``: run a graph of components, or draw it."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import click

from hubbub.cli.examples import examples
from hubbub.cli.loading import load_module
from hubbub.cli.logs import set_up_logs
from hubbub.flow import Component, Description, run
from hubbub.flow.drawing import svg
from hubbub.kernel import ConfigurationError


@click.group(
    epilog=examples(
        "hubbub flow run notify.py:graph --watch        run it, and see what passes",
        "hubbub flow draw notify.py:graph -o graph.svg  draw it",
    )
)
def flow() -> None:
    """Run graphs of components, or draw them."""


@flow.command(
    "run",
    epilog=examples(
        "hubbub flow run notify.py:demux",
        "hubbub flow run notify.py:graphs --watch       counts, queue lengths and rates, as it runs",
    ),
)
@click.argument("graph")
@click.option(
    "--until",
    type=click.Choice(["all", "first"]),
    default="all",
    show_default=True,
    help="When to end: when all graphs have, or the first.",
)
@click.option("--watch", "-w", is_flag=True, help="Show what passes, once a second.")
@click.option("--dev", is_flag=True, help="Raise an error where a component of the loop blocks.")
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
def run_command(graph: str, until: Any, watch: bool, dev: bool, verbose: bool) -> None:
    """Run GRAPH until it ends.

    GRAPH is file.py:name or module:name: a component, a list of them, or a function that returns either.
    Ctrl-C lets it come to a good end; a second one stops it.
    """
    set_up_logs(verbose)
    run(*load_graphs(graph), until=until, dev=dev, watch=_Table() if watch else None)


@flow.command(
    epilog=examples(
        "hubbub flow draw notify.py:demux -o demux.svg",
        "hubbub flow draw notify.py:demux --text        parts and linkages in the terminal",
    )
)
@click.argument("graph")
@click.option(
    "--out", "-o", metavar="FILE", default="-", help="Where the SVG goes.  [default: the terminal]"
)
@click.option("--text", "as_text", is_flag=True, help="A table instead of a drawing.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def draw(graph: str, out: str, as_text: bool, as_json: bool) -> None:
    """Draw GRAPH as SVG.

    GRAPH is file.py:name or module:name: a component, a list of them, or a function that returns either.
    Of several, each is drawn into a file of its own: FILE-1.svg, FILE-2.svg.
    """
    if as_text and as_json:
        raise click.UsageError("say --text or --json, not both")
    form = "text" if as_text else "json" if as_json else None
    graphs = load_graphs(graph)
    drawn = [_drawn(component, form) for component in graphs]
    if out == "-":
        for text in drawn:
            click.echo(text)
        return
    for number, text in enumerate(drawn, 1):
        file = Path(out)
        if len(drawn) > 1:
            file = file.with_stem(f"{file.stem}-{number}")
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"can't write {str(file)!r}: {error.strerror}") from None
        click.echo(f"{file}: {graphs[number - 1].label}", err=True)


def load_graphs(target: str) -> list[Component]:
    """Return the graphs that ``file.py:name`` or ``module:name`` names.

    Raises:
        ConfigurationError: If there is no such module or name, or it is no graph; the message names those there are.
    """
    module = load_module(target)
    name = target.partition(":")[2] or "graph"
    found = getattr(module, name, None)
    if inspect.isfunction(found):
        found = found()
    several = list(found) if isinstance(found, list | tuple) else [found]
    graphs = [graph for graph in several if isinstance(graph, Component)]
    if not graphs or len(graphs) < len(several):
        named = [n for n, value in vars(module).items() if isinstance(value, Component)]
        hint = f"; there {'is' if len(named) == 1 else 'are'} {', '.join(named)}" if named else ""
        raise ConfigurationError(
            f"{module.__name__}:{name} is no graph, no list of graphs and no function that returns one{hint}"
        )
    return graphs


def _drawn(graph: Component, form: str | None) -> str:
    if form == "text":
        return str(graph.describe())
    if form == "json":
        return json.dumps(graph.describe().as_data(), indent=2)
    return svg(graph)


class _Table:
    """Shows descriptions on standard error: in place where that is a terminal, one below the other elsewhere."""

    def __init__(self) -> None:
        self._before: list[Description] = []
        self._height = 0

    def __call__(self, now: list[Description]) -> None:
        earlier: list[Description | None] = [*self._before] or [None] * len(now)
        text = "\n\n".join(
            f"{description.name}\n{description.text(before)}"
            for description, before in zip(now, earlier, strict=True)
        )
        self._before = now
        if sys.stderr.isatty():
            up = f"\x1b[{self._height}F\x1b[J" if self._height else ""
            self._height = text.count("\n") + 1
            click.echo(up + text, err=True)
        else:
            click.echo(text + "\n", err=True)
