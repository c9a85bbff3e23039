"""Reader of torch checkpoints of the architectures that are known here."""

import os

import keras

from finetunekit.backbones import checkpoints, image_models, torch_models
from finetunekit.backbones.readers import LoadOptions, SourceReader
from finetunekit.foundation import file_kinds, hashing
from finetunekit.foundation.messages import listed, say
from finetunekit.models import data_formats


def read(source: str, options: LoadOptions) -> keras.Model:
    """A new model with the weights of a checkpoint.

    Raises:
        ValueError: If it is damaged, of no known architecture, or the options do not fit.
        OSError: If it cannot be read.
    """
    _check_data_format(source)
    checkpoint = checkpoints.read(source, state_dict=options.state_dict)
    located = torch_models.locate(checkpoint.arrays, source, checkpoint.key)
    model, architecture, left = torch_models.build(
        located.state,
        source,
        include_top=options.include_top,
        input_shape=options.input_shape,
        preprocessing=options.preprocessing,
    )
    dropped = checkpoint.notes + located.notes
    if left:
        dropped.append(f"the classifier, {listed(left, 4)}, which is not a single layer")
    for line in dropped:
        say(f"{os.path.basename(source)}: left out {line}")
    origin = {
        "source": os.path.basename(source),
        "sha256": hashing.file_digest(source),
        "format": f"torch checkpoint, {architecture}",
        "dropped": dropped,
    }
    contract = torch_models.contract(located.state, options.preprocessing)
    image_models.describe(model, origin, contract)
    return model


def _check_data_format(source: str) -> None:
    if keras.config.image_data_format() != data_formats.LAST:
        raise ValueError(
            "`source` is a torch checkpoint, which is rebuilt with the channels last, and Keras is "
            "set to channels first. Load it under `keras.config.set_image_data_format("
            f"'channels_last')`. Received: source={source!r}"
        )


def is_checkpoint(source: str) -> bool:
    """Whether the content of a file, else its name, is that of a torch checkpoint."""
    kind = file_kinds.kind_of(source)
    if kind is None:
        return source.lower().endswith(checkpoints.ENDINGS)
    return kind in (file_kinds.TORCH, file_kinds.SAFETENSORS)


READER = SourceReader(
    kind="a torch checkpoint",
    accepts=is_checkpoint,
    options=frozenset({"include_top", "input_shape", "preprocessing", "reference", "state_dict"}),
    read=read,
)
