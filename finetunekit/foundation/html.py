"""HTML for notebooks: plain tables, escaped, without colours of their own, so light or dark."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

_LINE = "1px solid rgba(128, 128, 128, 0.4)"  # Seen on white and on black.
_NUMBER = re.compile(r"[-+]?[\d.,]+%?( .*)?|undefined|nan|", re.IGNORECASE)


def view(title: str, *parts: str) -> str:
    """A title and what is below it; wide tables scroll on their own.

    Args:
        title: One line of text.
        *parts: What the other functions here return; empty ones are left out.
    """
    return (
        f'<div style="overflow-x: auto"><div><strong>{_text(title)}</strong></div>'
        f"{''.join(parts)}</div>"
    )


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table of texts and numbers; columns of numbers are aligned to the right.

    Args:
        head: The names of the columns; none for a table without a head.
        rows: For each row its cells; None is an empty cell.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True))
    sides = ["right" if all(map(_NUMBER.fullmatch, column)) else "left" for column in columns]
    lines = [_row("td", row, sides) for row in cells]
    if head:
        lines.insert(0, _row("th", head, sides or ["left"] * len(head)))
    return f'<table style="border-collapse: collapse">{"".join(lines)}</table>'


def facts(known: dict[str, Any]) -> str:
    """Names with what is known of each, a line each; None is left out."""
    return table([], [(name, value) for name, value in known.items() if value is not None])


def lines(texts: Iterable[str]) -> str:
    """Sentences, a line each."""
    return "".join(f"<div>{_text(text)}</div>" for text in texts)


def folded(title: str, part: str) -> str:
    """A part that is opened with a click."""
    return f"<details><summary>{_text(title)}</summary>{part}</details>"


def _row(tag: str, cells: Sequence[Any], sides: Sequence[str]) -> str:
    written = (
        f'<{tag} style="text-align: {side}; padding: 0.2em 0.8em; border-bottom: {_LINE}">'
        f"{_text(cell)}</{tag}>"
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{''.join(written)}</tr>"


def _text(text: Any) -> str:
    return html.escape(str(text))
