"""Printing rows of text so that they can be read."""

from __future__ import annotations

from collections.abc import Sequence

_WIDEST = 40


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be, within reason; the last one is never cut."""
    cut = [[*(_cut(cell) for cell in row[:-1]), row[-1]] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    widths[-1] = len(header[-1])
    for row in (cut[0], ["─" * width for width in widths], *cut[1:]):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 1]}…"
