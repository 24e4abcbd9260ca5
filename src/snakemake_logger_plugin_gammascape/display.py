"""Live display: one line for all cells, and one for each device."""

import time

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gammascape.durations import duration
from gammascape.execution.board import Board
from snakemake_logger_plugin_gammascape.pace import Pace

_BAR = 40
_MOST_DEVICES = 16


def board_words(board: Board) -> str:
    """Outcomes of cells, rate and time left: `60 trained, 12 diverged; 9,100 cell-steps/s, 20 s to go`."""
    words = board.words()
    rate, left = board.rate(), board.seconds_left()
    if rate:
        words += f"; {rate:,.0f} cell-steps/s"
    if left:
        words += f", {duration(left)} to go"
    return words


def cells_display(pace: Pace | None, board: Board) -> RenderableType:
    """Display for a terminal."""
    if pace is None:
        return Text("")
    head = Table.grid(padding=(0, 1))
    words = board_words(board) if board.active else pace.words(time.monotonic())
    head.add_row(
        "cells",
        ProgressBar(total=pace.total, completed=pace.done, width=_BAR),
        f"{pace.done} of {pace.total}",
        words,
    )
    if not board.active:
        return head
    devices = Table.grid(padding=(0, 2))
    # SLURM jobs come and go: show active ones first, and no more than fit on a screen.
    ordered = sorted(board.devices.items(), key=lambda item: not item[1].lanes)
    for name, state in ordered[:_MOST_DEVICES]:
        doing = (
            f"{state.lanes} lanes, step {state.step:,} of {state.steps:,}"
            if state.lanes
            else "idle"
        )
        devices.add_row(name, f"{state.packs} packs done", doing)
    return Group(head, devices)
