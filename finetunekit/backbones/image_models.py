"""What is noted of an image model that was built here: its origin, what to feed it, its front."""

from typing import Any

import keras

from finetunekit.backbones import applications
from finetunekit.models import image_sizes
from finetunekit.models.metadata import InputContract, remember


def describe(model: keras.Model, origin: dict[str, Any], contract: InputContract) -> None:
    """Notes origin and contract, the latter for as many channels as the model takes."""
    depth = image_sizes.channels(model)
    if depth not in (None, 3):
        contract = applications.for_channels(contract, depth)
    ours = [layer.name for layer in model.layers if layer.name == "preprocessing"]
    remember(model, contract=contract, origin=origin, preprocessing_layers=tuple(ours))
