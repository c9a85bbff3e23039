"""Messages to the user, through the logger "finetunekit" and never through print."""

import difflib
import logging
import sys
from collections.abc import Iterable

logger = logging.getLogger("finetunekit")


class _VisibleByDefault(logging.Handler):
    """Writes to stderr as long as the program has not set up logging itself."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            sys.stderr.write(f"finetunekit: {record.getMessage()}\n")


logger.addHandler(_VisibleByDefault())
logger.setLevel(logging.INFO)


def say(message: str, verbose: object = "auto") -> None:
    """Logs what was done or chosen; `verbose=0` keeps it to the debug level."""
    logger.log(logging.INFO if verbose else logging.DEBUG, message)


def warn(message: str) -> None:
    """Logs something that the user probably did not mean."""
    logger.warning(message)


def plural(count: int, noun: str) -> str:
    """`3 layers`, `1 layer`, `2 classes`, `4 batches`, `5 epochs`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}es" if noun.endswith(("s", "tch")) else f"{count:,} {noun}s"


def listed(names: Iterable[object], limit: int = 12) -> str:
    """The first names of a list, quoted, with the number of those left out."""
    rows = [repr(name) for name in names]
    more = f", ... ({len(rows) - limit} more)" if len(rows) > limit else ""
    return ", ".join(rows[:limit]) + more


def closest(name: str, names: Iterable[str]) -> str:
    """`Did you mean ...? ` with the names nearest to a misspelt one, or an empty string."""
    near = difflib.get_close_matches(name, list(dict.fromkeys(names)), n=3, cutoff=0.5)
    return f"Did you mean {listed(near)}? " if near else ""
