"""The point that a run is resumed from: the state in a file, and its stage."""

import os
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation.messages import say
from finetunekit.resuming import checkpoint_files


@dataclass(frozen=True)
class StageState:
    """Where a run in stages is: the number of the stage, and what the ones before gave.

    Attributes:
        number: The number of the stage, from 0.
        plan: The stages, described.
        lengths: How many epochs each has, up to this one.
        history: Logged name -> values of the stages before.
        epoch: Their epochs.
        stages: Their names, with the number of the first epoch of each.
    """

    number: int
    plan: list[Any]
    lengths: list[int]
    history: dict[str, Any]
    epoch: list[int]
    stages: list[Any]


@dataclass(frozen=True)
class Resume:
    """From which file, and at which stage; what `fit_in_stages` hands to `fit`."""

    path: str | None
    stage: StageState | None = None


def read_checkpoint(path: Any) -> dict[str, Any] | None:
    """The state in a file; None, logged, if there is not such a file yet.

    Raises:
        TypeError: If it is not a path.
        ValueError: If it is not a checkpoint, or is damaged.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"`resume` must be the path of a `callbacks.Checkpoint`. Received: resume={path!r}"
        )
    target = os.path.abspath(os.fspath(path))
    if not os.path.exists(target):
        say(f"{target} does not exist yet: training starts from the beginning")
        return None
    return checkpoint_files.read(target, "resume")


def check_kind(state: dict[str, Any], given: Resume) -> None:
    """Raises if a checkpoint is of a run of the other function.

    Raises:
        ValueError: If so.
    """
    kind = "fit_in_stages" if state["stage"] is not None else "fit"
    wanted = "fit_in_stages" if given.stage is not None else "fit"
    if kind != wanted:
        raise ValueError(
            f"`resume` is of a run of `{kind}`: call that to go on. "
            f"Received: resume={given.path!r} in `{wanted}`"
        )


def check_can_be_kept(model: keras.Model, steps: int | None) -> None:
    """Raises for a run of which a checkpoint could not say where it is.

    Raises:
        ValueError: If so.
    """
    if steps is not None:
        raise ValueError(
            "A run with a checkpoint needs whole epochs: `steps_per_epoch` leaves the place in "
            f"the data to Keras. Leave it out. Received: steps_per_epoch={steps!r}"
        )
    if not model.built:
        raise ValueError(
            "A run with a checkpoint needs a model that is built, so that its weights can be told "
            f"apart. Call it on a batch first. Received: model={model!r}"
        )
