"""The table of results: accuracy, time and trainable parameters, one row per method."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one method.

    Args:
        name: What was done.
        accuracy: Share of correct test images, 0..1.
        seconds: How long it trained.
        trainable: How many parameters trained.

    Example:
        ```python
        from finetunekit.quickstart.table import Row

        row = Row(name="majority class", accuracy=0.1, seconds=0.0, trainable=0)
        ```
    """

    name: str
    accuracy: float
    seconds: float
    trainable: int


def table_text(rows: Sequence[Row]) -> str:
    """The rows as a table for the terminal.

    Example:
        ```python
        from finetunekit.quickstart.table import Row, table_text

        print(table_text([Row(name="all", accuracy=0.9, seconds=12.0, trainable=1_000_000)]))
        ```
    """
    width = max(len(row.name) for row in rows)
    lines = [f"{'':<{width}}  accuracy  seconds  trainable parameters"]
    lines += [
        f"{row.name:<{width}}  {row.accuracy:>6.1%}  {row.seconds:>7.1f}  {row.trainable:>20,}"
        for row in rows
    ]
    return "\n".join(lines)
