"""How images are scaled for the weights of a hub: settings of KerasHub and Hugging Face."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import hub_checks
from finetunekit.foundation.messages import warn
from finetunekit.models import metadata
from finetunekit.models.metadata import InputContract

_SETTINGS = "preprocessor_config.json"
_Rows = tuple[np.ndarray, np.ndarray, tuple[int, int] | None]  # Scale, offset, size.


def remember_settings(model: keras.Model, hub: Any, preset: str, folder: str | None) -> None:
    """Records what images a model expects, if its files say so."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return
    settings = Path(folder or "", _SETTINGS)
    known = folder is not None and settings.is_file()
    rows = _of_hugging_face(hub_checks.read_json(settings)) if known else None
    found = _of_kerashub(hub, preset) if rows is None else rows
    if isinstance(found, str):
        warn(f"the input contract of {model.name!r} is unknown ({found})")
        return
    scale, offset, size = found
    mean, std = (tuple(map(float, row.ravel())) for row in (-offset / scale, 1 / scale))
    ends = np.concatenate([offset, 255 * scale + offset])
    told = [[round(value, 3) for value in row] for row in (mean, std)]
    contract = InputContract(
        value_range=(float(ends.min()), float(ends.max())),
        size=size,
        preprocessing="outside",
        note=f"RGB pixels that you normalise, (pixels - mean) / std, mean {told[0]}, std {told[1]}",
        dtype="float32",
        mean=mean,
        std=std,
    )
    metadata.remember(model, contract=contract)


def _of_kerashub(hub: Any, preset: str) -> _Rows | str:
    """The settings of a preset; why there are none, if there are none."""
    try:
        found = hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # There may be none; the model is of use without it.
        return type(error).__name__
    if found is None:
        return f"there is no {_SETTINGS}"
    scale = np.broadcast_to(np.asarray(1.0 if found.scale is None else found.scale), 3)
    offset = np.broadcast_to(np.asarray(0.0 if found.offset is None else found.offset), 3)
    return scale, offset, tuple(found.image_size) if found.image_size else None


def _of_hugging_face(settings: dict[str, Any]) -> _Rows | None:
    """Those of transformers' image processors; None if they are not of the known form."""
    factor = float(settings.get("rescale_factor", 1 / 255))
    factor = factor if settings.get("do_rescale", True) else 1.0
    mean, std = np.zeros(3), np.ones(3)
    if settings.get("do_normalize", True):
        try:
            rows = (settings["image_mean"], settings["image_std"])
            mean, std = (np.broadcast_to(np.asarray(row, "float64"), 3) for row in rows)
        except (KeyError, TypeError, ValueError):
            return None
    if not (factor > 0 and np.all(std > 0)):
        return None
    return factor / std, -mean / std, _size(settings)


def _size(settings: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width of what the model is fed: of the crop, if there is one."""
    crops = settings.get("do_center_crop") and settings.get("crop_size")
    size = crops or settings.get("size")
    if isinstance(size, dict):
        edges = (size.get("height"), size.get("width"))
    else:
        edges = (size, size)
    height, width = (edge if type(edge) is int else 0 for edge in edges)
    return (height, width) if height > 0 and width > 0 else None
