"""`LoadReport`: what was loaded, and what was dropped and converted."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import arguments, html
from finetunekit.foundation.messages import plural
from finetunekit.models import metadata
from finetunekit.models.metadata import InputContract

# float32 arithmetic in another order, through a deep network; relative to the largest output.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What `load_backbone` loaded, and what was dropped and converted; `print` shows it.

    Args:
        source: The file, name or handle.
        format: What kind of source it is, such as `"Keras 2 HDF5"`.
        sha256: The hash of its content; None where there is no file.
        written_by: The version of Keras that wrote it, if it is known.
        architecture: Name and kind of the model.
        parameters: The number of parameters.
        inputs: Shapes of the inputs; None stands for any size.
        outputs: Shapes of the outputs.
        dropped: Arguments that Keras 3 does not have and that had no effect; of a Hugging Face
            folder, the layers of its task.
        converted: Layers and functions that were replaced by equivalent ones.
        class_names: The classes of a Hugging Face folder's head, which the backbone does not have.
        parity: The largest difference to the outputs given as `reference`; None without one.
        contract: The inputs that it expects.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        print(ftk.load_report(backbone))
        ```
    """

    source: str
    format: str
    sha256: str | None
    written_by: str | None
    architecture: str
    parameters: int
    inputs: str
    outputs: str
    dropped: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    parity: float | None = None
    contract: InputContract | None = None

    def __str__(self) -> str:
        lines = [f"{key:<10}{value}" for key, value in self._facts()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<LoadReport: {self.architecture}, from {self.source}>"

    def _repr_html_(self) -> str:
        return html.view(self.architecture, html.table([], self._facts()))

    def _facts(self) -> list[tuple[str, str]]:
        """What is known, by name; a name may come more than once."""
        known = {
            "source": self.source,
            "format": self.format + (f", written by {self.written_by}" if self.written_by else ""),
            "sha256": self.sha256,
            "model": f"{self.architecture}, {plural(self.parameters, 'parameter')}",
            "inputs": self.inputs,
            "outputs": self.outputs,
            "expects": _expected(self.contract),
            "classes": ", ".join(self.class_names),
            "parity": None if self.parity is None else f"largest difference {self.parity:.2g}",
        }
        rows = [(name, value) for name, value in known.items() if value]
        rows += [("converted", what) for what in self.converted]
        return rows + [("dropped", what) for what in self.dropped]


def load_report(model: keras.Model) -> LoadReport:
    """The report on a model that `load_backbone` or `load` made.

    Args:
        model: The model; one that `add_head` made of it does too.

    Returns:
        The report.

    Raises:
        ValueError: If the model was not loaded by finetunekit.
        TypeError: If it is not a keras.Model.

    Example:
        ```python
        import finetunekit as ftk

        report = ftk.load_report(ftk.load_backbone("pretrained_model.h5"))
        assert report.format == "Keras 3 HDF5"
        ```
    """
    arguments.check_model(model)
    known = metadata.of(model)
    origin = known.origin
    if not origin:
        raise ValueError(
            "`model` was not loaded by finetunekit, so there is no report on it. Load it with "
            f"`load_backbone`. Received: model={model!r}"
        )
    loaded: Any = known.backbone if isinstance(known.backbone, keras.Model) else model
    return LoadReport(
        source=str(origin["source"]),
        format=str(origin.get("format", "unknown")),
        sha256=origin.get("sha256"),
        written_by=origin.get("written_by"),
        architecture=f"{loaded.name!r}, a {type(loaded).__name__}",
        parameters=loaded.count_params(),
        inputs=_shapes(getattr(loaded, "inputs", None)),
        outputs=_shapes(getattr(loaded, "outputs", None)),
        dropped=tuple(origin.get("dropped", ())),
        converted=tuple(origin.get("converted", ())),
        class_names=tuple(origin.get("class_names", ())),
        parity=origin.get("parity"),
        contract=known.contract,
    )


def line(report: LoadReport) -> str:
    """The report in one line, for the log."""
    digest = f" (sha256 {report.sha256[:12]}...)" if report.sha256 else ""
    feed = _expected(report.contract)
    changed = [
        f"{len(what)} {word}"
        for word, what in (("converted", report.converted), ("dropped", report.dropped))
        if what
    ]
    return (
        f"loaded {report.architecture}, from {report.source}{digest}, {report.format}: "
        f"{plural(report.parameters, 'parameter')}, input {report.inputs}, "
        f"output {report.outputs}"
        + (f"; it expects {feed}" if feed else "")
        + (f"; {', '.join(changed)}: `print(ftk.load_report(model))`" if changed else "")
    )


def _expected(contract: InputContract | None) -> str:
    if contract is None:
        return ""
    if contract.note:
        return contract.note
    if contract.vocabulary_size is not None:
        return f"token ids of 0 to {contract.vocabulary_size - 1}"
    if contract.value_range is not None:
        low, high = contract.value_range
        return f"values of {low:g} to {high:g}"
    return ""


def _shapes(tensors: Any) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors or ()) or "unknown"


def check_parity(model: keras.Model, reference: Any) -> float:
    """The largest difference between the model's outputs and those that are known.

    Raises:
        ValueError: If it is no pair of inputs and outputs, or the outputs differ.
    """
    if not isinstance(reference, tuple) or len(reference) != 2:
        raise ValueError(
            "`reference` must be a pair `(inputs, outputs)`: a batch and what the model gave for "
            f"it where it was trained. Received: reference of type {type(reference).__name__}"
        )
    inputs, outputs = reference
    wanted = [np.asarray(part) for part in keras.tree.flatten(outputs)]
    found = [np.asarray(part) for part in keras.tree.flatten(model(inputs, training=False))]
    if [part.shape for part in found] != [part.shape for part in wanted]:
        raise ValueError(
            f"`reference` has outputs of the shapes {[part.shape for part in wanted]}, the model "
            f"gives {[part.shape for part in found]}. Give the outputs of this very model for "
            "these inputs. Received: reference of other shapes"
        )
    pairs = list(zip(found, wanted, strict=True))
    largest = max((float(np.abs(b).max()) for _, b in pairs if b.size), default=0.0)
    parity = max((float(np.abs(a - b).max()) for a, b in pairs if b.size), default=0.0)
    if not parity <= _TOLERANCE * max(1.0, largest):
        raise ValueError(
            f"`reference` differs from what the loaded model gives by up to {parity:.2g} (largest "
            f"value {largest:.2g}). Either the inputs were prepared in another way, or the weights "
            "are not those of the reference; without `reference=` the model is loaded all the "
            "same. Received: reference"
        )
    return parity


def note(model: keras.Model, **facts: Any) -> None:
    """Adds facts to the model's origin."""
    metadata.remember(model, origin={**metadata.of(model).origin, **facts})
