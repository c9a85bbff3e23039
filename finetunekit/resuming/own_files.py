"""Files beside a checkpoint that belong to it; what was there before is set aside."""

import contextlib
import glob
import os

from finetunekit.caching import hdf5_table
from finetunekit.foundation.messages import say
from finetunekit.foundation.partial_files import clear_stale


def features_path(checkpoint: str, stage: int | None) -> str:
    """Where the computed features of a run, or of one of its stages, are kept."""
    return f"{checkpoint}{'' if stage is None else f'.stage{stage}'}.features.h5"


def set_aside(checkpoint: str) -> None:
    """Gives what stands in the way of a new run another name: nothing is destroyed unasked."""
    clear_stale(checkpoint)
    whole, stages = features_path(checkpoint, None), glob.escape(checkpoint) + ".stage[0-9]*"
    features = [whole, *sorted(glob.glob(f"{stages}.features.h5"))]
    for path in [checkpoint, *(name for f in features for name in _with_validation(f))]:
        if os.path.exists(path):
            free = _free_name(f"{path}.previous")
            os.replace(path, free)
            say(f"{path} of an earlier run is kept as {free}")


def remove_features(checkpoint: str, stage: int | None) -> None:
    """Removes the features of a run that is over, which nobody needs any more."""
    for name in _with_validation(features_path(checkpoint, stage)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _with_validation(features: str) -> list[str]:
    return [features, str(hdf5_table.validation_path(features))]


def _free_name(wanted: str) -> str:
    """The name, with a number if there is such a file."""
    name, number = wanted, 1
    while os.path.exists(name):
        number += 1
        name = f"{wanted}{number}"
    return name
