"""``module:attribute`` and ``file.py:attribute``: find what a command line names in the user's own code."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

import click

from hubbub.kernel import ConfigurationError


def load_module(target: str) -> ModuleType:
    """Return the module that ``target`` names; what follows a colon is not looked at.

    Raises:
        ConfigurationError: If there is no such module or file, or it can't be imported.
    """
    where = target.partition(":")[0]
    if not where:
        raise ConfigurationError(
            f"{target!r} names no module: say file.py:name or module:name, such as app.py{target or ':name'}"
        )
    if where.endswith(".py") and not Path(where).is_file():
        beside = "" if Path(where).is_absolute() else f" in {Path.cwd()}"
        raise ConfigurationError(f"there is no file {where!r}{beside}")
    module_name, directory = module_of(target)
    if str(directory) not in sys.path and not (directory == Path.cwd() and "" in sys.path):
        sys.path.insert(0, str(directory))
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise _not_importable(module_name, error) from None
        raise ConfigurationError(
            f"there is no module {module_name!r} in {directory}: go to your application's directory, "
            f"or give the file (path/to/{module_name.rpartition('.')[2]}.py:...)"
        ) from None
    except Exception as error:  # noqa: BLE001 - the application's code
        raise _not_importable(module_name, error) from None


def module_of(target: str) -> tuple[str, Path]:
    """Return the module that ``target`` names, and the directory from which it is imported.

    Stored objects name their class by its module, so a file is always imported from the directory that it is in.
    """
    where = target.partition(":")[0]
    if where.endswith(".py"):
        file = Path(where).resolve()
        return file.stem, file.parent
    return where, Path.cwd()


def _not_importable(module_name: str, error: Exception) -> ConfigurationError:
    """Show where the application's own code failed, without the way to it."""
    told = traceback.TracebackException.from_exception(error)
    ours = [n for n, frame in enumerate(told.stack) if frame.filename == __file__]
    frames = told.stack[ours[-1] + 1 :] if ours else told.stack
    told.stack = traceback.StackSummary.from_list(
        [frame for frame in frames if "importlib" not in frame.filename]
    )
    click.echo("".join(told.format()).rstrip(), err=True)
    return ConfigurationError(
        f"module {module_name!r} can't be imported: the {type(error).__name__} above is in it"
    )
