"""SavedModel folders as Keras models that train."""

import os
import re

import keras

from finetunekit.backbones.saved_model import structures
from finetunekit.backbones.saved_model.layer import SavedModelLayer
from finetunekit.models import metadata

__all__ = ["SavedModelLayer", "read"]


def read(
    folder: str, *, safe_mode: bool, signature: str | None = None, name: str | None = None
) -> keras.Model:
    """Reads a SavedModel folder as a new Functional model around one `SavedModelLayer`.

    Args:
        folder: The folder with the file saved_model.pb.
        safe_mode: Whether to refuse graphs with ops that are not known to be harmless.
        signature: The function or signature to call, as in `SavedModelLayer`.
        name: What to call the model; None for the name of the folder.

    Returns:
        The model, not compiled; the SavedModel's argument names are those
        of its inputs.

    Raises:
        ValueError: If the SavedModel is damaged, refused in safe mode, or cannot be called.
        OSError: If there is no such folder.
    """
    name = name or os.path.basename(os.path.abspath(folder))
    name = re.sub(r"[^A-Za-z0-9_.\-]", "_", name)
    layer = SavedModelLayer(folder, signature=signature, safe_mode=safe_mode, name="saved_model")
    inputs = structures.inputs_for(layer.input_specs)
    model = keras.Model(inputs, layer(inputs), name=name or "saved_model")
    metadata.remember(model, origin={"source": os.path.basename(name), "sha256": layer.digest})
    return model
