"""Reader of torch checkpoints of the architectures that are known here."""

import os

import keras

from finetunekit.backbones import checkpoints, image_models, torch_models
from finetunekit.backbones.readers import LoadOptions, SourceReader
from finetunekit.foundation import file_kinds, hashing


def read(source: str, options: LoadOptions) -> keras.Model:
    """A new model with the weights of a checkpoint.

    Raises:
        ValueError: If it is damaged, of no known architecture, or the options do not fit.
        OSError: If it cannot be read.
    """
    state = checkpoints.read(source)
    model, architecture = torch_models.build(
        state,
        source,
        include_top=options.include_top,
        input_shape=options.input_shape,
        preprocessing=options.preprocessing,
    )
    origin = {
        "source": os.path.basename(source),
        "sha256": hashing.file_digest(source),
        "format": f"torch checkpoint, {architecture}",
    }
    contract = torch_models.contract(state, options.preprocessing)
    image_models.describe(model, origin, contract)
    return model


def is_checkpoint(source: str) -> bool:
    """Whether the content of a file, else its name, is that of a torch checkpoint."""
    kind = file_kinds.kind_of(source)
    if kind is None:
        return source.lower().endswith(checkpoints.ENDINGS)
    return kind in (file_kinds.TORCH, file_kinds.SAFETENSORS)


READER = SourceReader(
    kind="a torch checkpoint",
    accepts=is_checkpoint,
    options=frozenset({"include_top", "input_shape", "preprocessing", "reference"}),
    read=read,
)
