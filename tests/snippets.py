"""What the code blocks of the documentation may use: those of `finetunekit.examples`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetunekit.examples import images as examples
from finetunekit.examples import prepare as prepare_examples
from finetunekit.examples import pretrained_model, write_photos

__all__ = ["examples", "prepare", "pretrained_model", "write_photos"]


def prepare(folder: Path) -> dict[str, Any]:
    """Write `pretrained_model.h5` and `photos/` into `folder`; return the names a block may use."""
    return prepare_examples(folder)._asdict()
