"""The progress of `arks up`: bars and spinners on a terminal, one line per step elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    from rich.console import Console

_BAR_COLUMNS = 10
_OTHER_COLUMNS = 38


class Progress(Protocol):
    def step(self, name: str, text: str, *, done: bool = False, ratio: float | None = None) -> None:
        """Show the state of a step. `ratio`: its progress from 0 to 1, if known."""


class LineProgress:
    """For logs and pipes: one line when a step is done, and one when it is not done any more."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._done: set[str] = set()

    def step(self, name: str, text: str, *, done: bool = False, ratio: float | None = None) -> None:
        if done != (name in self._done):
            self._done ^= {name}
            typer.echo(f"{time.monotonic() - self._began:5.1f} s  {name:<17} {text}")


@contextmanager
def progress(began: float) -> Iterator[Progress]:
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        with bars(console) as shown:
            yield shown
    else:
        yield LineProgress(began)


@contextmanager
def bars(console: "Console") -> Iterator[Progress]:
    from rich.progress import BarColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    from arks.local.render.table import shorten

    class MeasuredBar(BarColumn):
        """Shows a bar only for what is measured: any other would look full without colours."""

        def render(self, task: Task) -> ProgressBar:
            if task.total is None or task.finished:
                return Text(" " * _BAR_COLUMNS)  # type: ignore[return-value]
            return super().render(task)

    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description:<14}"),
        MeasuredBar(bar_width=_BAR_COLUMNS),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )

    class Bars:
        def __init__(self, rich: RichProgress) -> None:
            self._rich = rich
            self._tasks: dict[str, TaskID] = {}

        def step(self, name: str, text: str, *, done: bool = False, ratio: float | None = None) -> None:
            if name not in self._tasks:
                self._tasks[name] = self._rich.add_task(name, total=None, text="")
            task, text = self._tasks[name], shorten(text, max(20, console.width - _OTHER_COLUMNS))
            if not done and self._rich.tasks[self._rich.task_ids.index(task)].finished:
                self._rich.reset(task)  # what was done and is not any more loses its tick
            total = 1 if done or ratio is not None else None
            self._rich.update(task, text=text, total=total, completed=1 if done else min(ratio or 0, 0.999))

    with RichProgress(*columns, console=console, refresh_per_second=6) as rich:
        yield Bars(rich)
