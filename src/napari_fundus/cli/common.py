"""Parts of all commands: errors in one line, ``--set``, progress bars."""

from __future__ import annotations

import functools
import json
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from napari_fundus.errors import FundusError, OptionsError
from napari_fundus.runtime.text import describe_error, printable

if TYPE_CHECKING:
    from rich.console import Console

    from napari_fundus.runtime.progress import Monitor

EXIT_FAILED_ITEMS, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
"""Exit statuses: some items failed; what was asked for cannot be done; stopped by Ctrl-C."""

P = ParamSpec("P")

DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]

DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE")
]


def stderr_console() -> Console:
    """Return the console for messages and progress: standard error, so that output stays clean.

    A message stays one line, whatever paths it names, as those who search a log expect.
    """
    from rich.console import Console

    class PlainConsole(Console):
        """Prints text from files as text: nothing in it commands the terminal."""

        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)

    return PlainConsole(stderr=True, highlight=False, markup=False, soft_wrap=True)


def stdout_console() -> Console:
    """Return the console for tables, as wide as the terminal is now.

    Rich's global one keeps for good the width that it was made with.
    """
    from rich.console import Console

    return Console()


def echo(text: str, *, err: bool = False) -> None:
    """Print text of which parts may come from files: nothing in it commands the terminal."""
    typer.echo(printable(text), err=err)


def plain(text: str) -> str:
    """Return text that a table of rich shows as it is."""
    from rich.markup import escape

    escaped: str = escape(printable(text))
    return escaped


def handle_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Print the errors of a command in one line, unless its parameter `debug` is set.

    Errors that the package raises on purpose, and those of the file system, end with status 2.
    Anything else is reported as a bug of the package, with status 1.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (FundusError, OSError) as error:
            if kwargs.get("debug") or _stdout_is_closed(error):
                raise
            echo(f"Error: {describe_error(error)}", err=True)
            raise typer.Exit(EXIT_USAGE) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if kwargs.get("debug"):
                raise
            echo(
                f"Unexpected {type(error).__name__}: {describe_error(error)}. "
                "Please report this; --debug shows where it happened.",
                err=True,
            )
            raise typer.Exit(EXIT_FAILED_ITEMS) from None

    return wrapped


def _stdout_is_closed(error: Exception) -> bool:
    """Whether nobody reads our output any more, as after `head`; other pipes may break too."""
    if not isinstance(error, BrokenPipeError) or sys.__stdout__ is None or sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(sys.__stdout__.fileno(), 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))


def parse_settings(settings: Sequence[str] | None, *, option: str = "--set") -> dict[str, Any]:
    """Return ``["field=value", …]`` as a dictionary, for pydantic to check.

    Values stay text, which pydantic turns into what the field wants; lists, objects, quoted text
    and null are read as JSON.

    Raises
    ------
    OptionsError
        One of them has no ``=``, or broken JSON.

    Examples
    --------
    >>> parse_settings(["threshold=0.9", "sizes=[1, 2]"])
    {'threshold': '0.9', 'sizes': [1, 2]}
    """
    parsed: dict[str, Any] = {}
    for setting in settings or ():
        name, sign, value = setting.partition("=")
        if not sign or not name.strip():
            raise OptionsError(f"{option} takes FIELD=VALUE, not {setting!r}.")
        text = value.strip()
        try:
            as_json = "|" not in text and (text[:1] in ("[", "{", '"') or text == "null")
            parsed[name.strip()] = json.loads(text) if as_json else text
        except json.JSONDecodeError as error:
            raise OptionsError(f"--set {name.strip()}: {text!r} is not JSON: {error}.") from None
    return parsed


@contextmanager
def progress_bar(console: Console) -> Iterator[Monitor]:
    """Yield a monitor whose progress is shown as a bar, unless the output is no terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from napari_fundus.runtime.progress import Monitor

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(
        *columns,
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=1.0)
        yield Monitor(
            lambda p: progress.update(task, completed=p.fraction, description=printable(p.message))
        )


@contextmanager
def cancel_on_interrupt(monitor: Monitor) -> Iterator[None]:
    """Let Ctrl-C cancel the monitor, so that the state is saved; a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        monitor.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
