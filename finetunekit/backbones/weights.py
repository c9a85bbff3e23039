"""`load_weights`: weights of a file loaded into a model, all of them or none."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import hdf5, weights_files
from finetunekit.backbones.weights_pairing import Assignment, Disagreement, Stored
from finetunekit.foundation import arguments, contents, file_kinds, html, keras_internals, paths
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.models import graph
from finetunekit.models.selection import Selector, find_layers_for

_OTHERWISE = {
    file_kinds.KERAS: "It is a whole model: load it with `load_backbone(path)`.",
    file_kinds.NUMPY: "Read the arrays by `np.load` and give them to `model.set_weights`.",
    file_kinds.SAFETENSORS: "Use `load_weights_from_torch(model, path)`.",
    file_kinds.TORCH: "Use `load_weights_from_torch(model, path)`.",
}


@dataclass(frozen=True)
class WeightsRow:
    """One layer of the model or of the file.

    `status` is `"loaded"`, `"random"` (in the model, left as it was) or `"skipped"` (in the file
    only, or left out as asked).
    """

    layer: str
    status: str
    parameters: int
    matched: str = ""
    note: str = ""


@dataclass(frozen=True)
class WeightsReport:
    """What `load_weights` did with each layer; prints as a table.

    Args:
        source: Name of the file.
        rows: One entry for each layer with weights, then one for each left over in the file.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.load_backbone("pretrained_model.h5")
        report = ftk.load_weights(model, "pretrained_model.h5")
        assert report.of("loaded") == ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "features"]
        ```
    """

    source: str
    rows: tuple[WeightsRow, ...]

    def of(self, status: str) -> list[str]:
        """Names of the layers of one status."""
        return [row.layer for row in self.rows if row.status == status]

    def __str__(self) -> str:
        head = ("layer", "status", "parameters", "matched", "note")
        lines = [
            head,
            *((r.layer, r.status, f"{r.parameters:,}", r.matched, r.note) for r in self.rows),
        ]
        widths = [max(len(line[column]) for line in lines) for column in range(4)]
        return "\n".join(
            f"{line[0]:{widths[0]}}  {line[1]:{widths[1]}}  {line[2]:>{widths[2]}}  "
            f"{line[3]:{widths[3]}}  {line[4]}".rstrip()
            for line in lines
        )

    def __repr__(self) -> str:
        return f"<WeightsReport: {self._counts()} of {self.source}>"

    def _repr_html_(self) -> str:
        head = ("layer", "status", "parameters", "matched", "note")
        rows = [(r.layer, r.status, f"{r.parameters:,}", r.matched, r.note) for r in self.rows]
        return html.view(f"{self.source}: {self._counts()}", html.table(head, rows))

    def _counts(self) -> str:
        found = Counter(row.status for row in self.rows)
        return ", ".join(f"{plural(count, 'layer')} {status}" for status, count in found.items())


def load_weights(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    skip: Selector | None = None,
    allow_partial: bool = False,
) -> WeightsReport:
    """Loads weights from a file into the model, in place: all of them, or none.

    Layers are matched by name, and their weights by name and shape. Names that Keras numbered
    itself (`dense_3` here, `dense_1` there) are matched in the order of the layers, if class,
    number, weight names and shapes agree; the report says so. Layers of a subclassed model are
    matched by their names, then by the attributes that hold them. In a file without names, order
    and shapes decide, and it is an error if they leave more than one way.

    Args:
        model: A built model of the architecture that the file was written from. For the backbone
            inside another model, give the backbone.
        path: A weights file of Keras 2 or tf_keras (`.h5`), a whole-model `.h5` or `.hdf5` file of
            any Keras, or a `.weights.h5` file of Keras 3.
        skip: Layers of the model that keep their weights, as in `find_layers`, such as
            a head.
        allow_partial: Whether layers may keep their weights because the file has none that fit,
            and weights in the file may be left over.

    Returns:
        A `WeightsReport`: layer by layer, what was loaded, left as it was, or skipped.

    Raises:
        ValueError: If not all layers agree and `allow_partial` is false, or the file is no
            weights file, or of an implausible structure. The model is not changed.
        OSError: If the file is not there or damaged. The model is not changed.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.load_backbone("pretrained_model.h5")
        model.save_weights("tuned.weights.h5")
        print(ftk.load_weights(model, "tuned.weights.h5"))
        ```
    """
    _check_model(model)
    arguments.check_flag(allow_partial, "allow_partial")
    target = paths.check_source(path, "path")
    _check_kind(target)
    skipped = _skipped(model, skip)
    with hdf5.open_checked(target, "path") as file:
        source = weights_files.layout(file, target, "path")
        rows, assignments = _decide(model, source, skipped)
        report = WeightsReport(os.path.basename(target), tuple(rows))
        _check_complete(report, target, allow_partial=allow_partial)
        values = [assignment.read() for assignment in assignments]
    for assignment, value in zip(assignments, values, strict=True):
        assignment.variable.assign(value)
    changed = {id(assignment.variable) for assignment in assignments}
    for place in graph.walk(model):
        # It computes with constants that it makes of its variables.
        if isinstance(place.layer, keras.layers.Normalization) and changed & set(
            map(id, place.layer.weights)
        ):
            place.layer.finalize_state()
    _say(report, model)
    return report


def _check_kind(path: str) -> None:
    kind = file_kinds.kind_of(path)
    if kind is None and path.lower().endswith(".keras") and not contents.mistaken(path):
        kind = file_kinds.KERAS
    if kind in _OTHERWISE:
        raise ValueError(
            f"`path` is {kind}, not a file of weights of Keras. {_OTHERWISE[kind]} "
            f"Received: path={path!r}"
        )


def _check_model(model: Any) -> None:
    arguments.check_model(model)
    if not model.weights:
        if model.built:
            raise ValueError(
                f"`model` must have weights, and no layer of {model.name!r} has any. "
                f"Received: model={model!r}"
            )
        raise ValueError(
            f"`model` must be built, and {model.name!r} has no weights yet. Call it on a batch "
            f"first. Received: model={model!r}"
        )
    if keras_internals.own_weights(model):
        raise ValueError(
            f"`model` must have its weights in layers; {model.name!r} has weights of its own. Use "
            f"`model.load_weights(path)`. Received: model={model!r}"
        )


def _skipped(model: keras.Model, skip: Selector | None) -> set[int]:
    if skip is None:
        return set()
    chosen = {id(layer) for layer in find_layers_for("skip", model, skip).values()}
    top = [layer for layer in model.layers if id(layer) in chosen]
    covered = {id(layer) for layer in graph.with_descendants(top)}
    inside = [p.path for p in graph.walk(model) if id(p.layer) in chosen - covered]
    if inside:
        raise ValueError(
            f"`skip` must be layers that {model.name!r} lists itself; {listed(inside, 4)} stand "
            f"inside others. Load into these, or skip them as a whole. Received: skip={skip!r}"
        )
    return {id(layer) for layer in top}


def _decide(
    model: keras.Model, source: Any, skipped: set[int]
) -> tuple[list[WeightsRow], list[Assignment]]:
    layers = [layer for layer in model.layers if layer.weights]
    paired, left = source.pairs(model)
    pairs = {id(found.layer): found for found in paired}
    rows, assignments = [], []
    for layer in layers:
        count = sum(map(graph.size, layer.weights))
        found = pairs.get(id(layer))
        if id(layer) in skipped:
            rows.append(WeightsRow(layer.name, "skipped", count, note="as asked"))
        elif found is None:
            rows.append(
                WeightsRow(layer.name, "random", count, note="the file has no layer for it")
            )
        else:
            try:
                assigned, by_order = source.assign(layer, found.stored)
            except Disagreement as fault:
                rows.append(WeightsRow(layer.name, "random", count, note=str(fault)))
                continue
            assignments += assigned
            how = "by order" if by_order else found.how
            notes = [f"stored as {found.stored.name!r}"] if found.stored.name != layer.name else []
            notes += dict.fromkeys(note for part in assigned for note in part.notes)
            rows.append(WeightsRow(layer.name, "loaded", count, how, "; ".join(notes)))
    rows += [
        WeightsRow(entry.name, "skipped", _stored_size(entry), note="in the file only")
        for entry in left
    ]
    return rows, assignments


def _stored_size(stored: Stored) -> int:
    return sum(int(np.prod(shape, dtype=object)) for shape in stored.shapes)


def _check_complete(report: WeightsReport, path: str, *, allow_partial: bool) -> None:
    open_ends = [
        f"{row.layer} ({row.note})"
        for row in report.rows
        if row.status == "random" or row.note == "in the file only"
    ]
    if not report.of("loaded"):
        raise ValueError(
            "`path` holds no weights that fit the model: "
            f"{listed(open_ends, 6)}. Give the architecture that it was written from, or the "
            f"backbone inside your model. Received: path={path!r}"
        )
    if open_ends and not allow_partial:
        raise ValueError(
            f"`path` and the model do not agree in {plural(len(open_ends), 'layer')}, and nothing "
            f"was loaded: {listed(open_ends, 6)}. Build the model like the one in the file, leave "
            "layers out with `skip=`, or take what fits with `allow_partial=True`. "
            f"Received: path={path!r}"
        )


def _say(report: WeightsReport, model: keras.Model) -> None:
    loaded = report.of("loaded")
    text = f"weights of {plural(len(loaded), 'layer')} of {model.name!r} from {report.source}"
    by_order = sum(row.matched == "by order" for row in report.rows)
    if by_order:
        text += f", {by_order} of them matched by order"
    for status in ("random", "skipped"):
        if report.of(status):
            text += f"; {status}: {listed(report.of(status), 6)}"
    say(text)
