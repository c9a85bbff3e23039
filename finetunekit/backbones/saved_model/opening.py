"""A SavedModel after loading: its object, its endpoint, its variables."""

from dataclasses import dataclass
from typing import Any

from finetunekit.backbones.saved_model import endpoints, paths
from finetunekit.backbones.saved_model.endpoints import Endpoint
from finetunekit.backbones.saved_model.folder import Folder
from finetunekit.backbones.saved_model.groups import VariableSpec
from finetunekit.backbones.saved_model.written import written_handles
from finetunekit.foundation.messages import plural, say


@dataclass
class Opened:
    """A loaded SavedModel.

    Args:
        folder: Where it was loaded from.
        loaded: TensorFlow's object.
        endpoint: How it is called.
        specs: A description of each of its variables.
        variables: TensorFlow's variables, in the same order.
    """

    folder: Folder
    loaded: Any
    endpoint: Endpoint
    specs: list[VariableSpec]
    variables: list[Any]


def open_folder(folder: Folder, source: str, signature: str | None) -> Opened:
    """Loads it and finds what a Keras layer needs; variables that Keras cannot hold stay out."""
    loaded = folder.load(source)
    endpoint = endpoints.find(loaded, signature)
    found = [
        (variable, trainable)
        for variable, trainable in endpoints.variables(loaded, endpoint)
        if variable.dtype.is_floating or variable.dtype.is_integer or variable.dtype.is_bool
    ]
    variables = [variable for variable, _ in found]
    written = {key for concrete in endpoint.concrete for key in written_handles(concrete)}
    specs = [
        VariableSpec(
            path=path,
            shape=tuple(variable.shape),
            dtype=variable.dtype.name,
            trainable=trainable,
            written=id(variable.handle) in written,
        )
        for path, (variable, trainable) in zip(
            paths.unique(paths.names(loaded, variables)), found, strict=True
        )
    ]
    return Opened(folder, loaded, endpoint, specs, variables)


def tell(opened: Opened, source: str, standing_still: int) -> None:
    """Logs what a user would not expect, such as frozen statistics of BatchNormalization."""
    endpoint = opened.endpoint
    if standing_still and not endpoint.is_signature:
        say(
            f"{source} keeps its {plural(standing_still, 'statistic')} of BatchNormalization, and "
            "runs in inference mode while it trains; `ftk.unfreeze_layers(model, 'moving_.*', "
            "batch_norm=True)` lets them be updated"
        )
    if endpoint.is_signature:
        say(
            f"{source} is called by its signature {endpoint.name!r}, for inference only: its "
            "variables do not train"
        )
    elif len(endpoint.modes) == 1 and "any" not in endpoint.modes:
        mode = "training" if True in endpoint.modes else "inference"
        say(f"{source} was saved in {mode} mode only, and always runs so")
