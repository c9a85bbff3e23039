"""The classes of a Hugging Face model's head, which a backbone goes without."""

import re
from collections.abc import Sequence
from typing import Any

from finetunekit.foundation.messages import listed

_NUMBERED = re.compile(r"LABEL_\d+")  # What transformers writes where nobody gave names.


def class_names(config: dict[str, Any]) -> tuple[str, ...]:
    """The names in `id2label`, in the order of the classes; empty if nobody gave any."""
    rows = config.get("id2label")
    if not isinstance(rows, dict) or not all(isinstance(name, str) for name in rows.values()):
        return ()
    names = [rows.get(str(number)) for number in range(len(rows))]
    if None in names or len(set(names)) != len(names):
        return ()
    if all(_NUMBERED.fullmatch(str(name)) for name in names):
        return ()
    return tuple(map(str, names))


def line(source: str, dropped: Sequence[str], names: Sequence[str]) -> str:
    """What of the files is not in the backbone, in a line for the log."""
    told = f"{source}: dropped {', '.join(dropped)}, which a backbone has no place for"
    if names:
        told += (
            f"; the head's {len(names)} classes were {listed(names, 6)}: "
            "`ftk.add_head(model, 'multiclass')` makes a new head for them"
        )
    return told
