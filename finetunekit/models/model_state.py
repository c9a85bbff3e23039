"""The state of a model that Keras has no place for: facets that go with the model.

A facet for each kind. Surgery carries them to the new model, `save` writes them down, `load` puts
them back, all by the loops below; a new kind of state is one facet more in `FACETS`.
The tables that they live in are those of `state_tables.py`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import keras
import numpy as np

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import warn
from finetunekit.models import (
    compiled,
    graph,
    head_metrics,
    metadata,
    metadata_record,
    optimizer_state,
    rate_multipliers,
    regularizers,
)
from finetunekit.models.label_smoothing import smooth_again
from finetunekit.models.state_tables import FROZEN_VARIABLES, REGULARIZERS_BEFORE
from finetunekit.models.target_scale import standardize_again

Record = dict[str, Any]  # JSON, but for arrays.
Variables = Iterator[tuple[str, str, Any]]  # Path of a layer, name of a variable, the variable.


class Facet:
    """One kind of state of a model.

    Attributes:
        of_compilation: Whether it belongs to how a model was compiled.
        progress: The keys of its record that hold what an optimizer has gathered in training.
    """

    of_compilation: ClassVar[bool] = False
    progress: ClassVar[tuple[str, ...]] = ()

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        """Gives it to a model that was made of another and shares its layers."""

    def to_record(self, model: keras.Model) -> Record:
        """It, under keys of its own."""
        return {}

    def from_record(self, model: keras.Model, record: Record) -> None:
        """Puts it back on a model of the same layers; keys that older files lack may be missing."""


class Known(Facet):
    """Task, roles, input contract, origin, tokenizer."""

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        metadata_record.carry(old, new)

    def to_record(self, model: keras.Model) -> Record:
        return metadata_record.to_record(model)

    def from_record(self, model: keras.Model, record: Record) -> None:
        metadata_record.from_record(model, record)


class FrozenLayers(Facet):
    """Which layers are frozen.

    A plain graph keeps that in its config; models that make their layers anew, such as the
    backbones of KerasHub, forget it, and so do composite layers.
    """

    def to_record(self, model: keras.Model) -> Record:
        return {"layer_flags": _flags(model)}

    def from_record(self, model: keras.Model, record: Record) -> None:
        flags = record.get("layer_flags")
        if flags is None or flags == _flags(model):
            return
        layers = _with_weights(model)
        if len(flags) != len(layers):
            warn(f"which layers of {model.name!r} were frozen cannot be told: look before you fit")
            return
        for place, trains in zip(layers, flags, strict=True):  # Outer ones first: they reach down.
            place.layer.trainable = bool(trains)


class FrozenVariables(Facet):
    """Variables that were frozen one by one, and stay so when their layer is unfrozen."""

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        for one, other in metadata_record.rebuilt(old, new):
            metadata.remember_frozen_variables(other, FROZEN_VARIABLES.get(one, frozenset()))

    def to_record(self, model: keras.Model) -> Record:
        found = {place.path: sorted(_frozen_in(place.layer)) for place in graph.leaves(model)}
        return {"frozen_variables": {path: names for path, names in found.items() if names}}

    def from_record(self, model: keras.Model, record: Record) -> None:
        layers = _layers(model)
        for path, names in record["frozen_variables"].items():
            metadata.remember_frozen_variables(layers[path], frozenset(names))
            for variable in keras_internals.own_trainable_variables(layers[path]):
                if variable.name in names:
                    variable.trainable = False


class RegularizersBefore(Facet):
    """What `remove_regularizer` brings back."""

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        for one, other in metadata_record.rebuilt(old, new):
            if one in REGULARIZERS_BEFORE:
                REGULARIZERS_BEFORE[other] = REGULARIZERS_BEFORE[one]

    def to_record(self, model: keras.Model) -> Record:
        rows = {place.path: regularizers.to_record(place.layer) for place in graph.walk(model)}
        return {"regularizers_before": {path: row for path, row in rows.items() if row}}

    def from_record(self, model: keras.Model, record: Record) -> None:
        layers = _layers(model)
        for path, row in record.get("regularizers_before", {}).items():
            regularizers.from_record(layers[path], row)


class Choices(Facet):
    """What `compile_for_task` picked."""

    of_compilation = True
    _KEPT = ("automatic_loss", "automatic_metrics", "rate_chosen_for", "label_smoothing")

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        picked = metadata.choices(old)
        if picked is not None:
            picked = dataclasses.replace(picked, loss=new.loss, optimizer=new.optimizer)
        metadata.remember(new, choices=picked)

    def to_record(self, model: keras.Model) -> Record:
        picked = metadata.choices(model)
        return {"choices": picked and {name: getattr(picked, name) for name in self._KEPT}}

    def from_record(self, model: keras.Model, record: Record) -> None:
        row = record["choices"]
        if row is None or not model.compiled:
            return
        picked = {"label_smoothing": 0.0} | {n: row[n] for n in self._KEPT if n in row}
        kept = metadata.Choices(loss=model.loss, optimizer=model.optimizer, **picked)
        metadata.remember(model, choices=kept)


class LabelSmoothing(Facet):
    """The smoothing of integer labels, which the loss object shared by copies holds itself."""

    of_compilation = True

    def from_record(self, model: keras.Model, record: Record) -> None:
        picked, task = metadata.choices(model), metadata.of(model).task
        if picked is not None and task is not None:
            smooth_again(model.loss, task.num_classes, picked.label_smoothing)


class TargetScale(Facet):
    """The standard deviations by which the loss divides, which the loss object holds itself."""

    of_compilation = True

    def from_record(self, model: keras.Model, record: Record) -> None:
        picked, task = metadata.choices(model), metadata.of(model).task
        if picked is not None and picked.automatic_loss and task is not None:
            standardize_again(model.loss, task)


class MetricFeeds(Facet):
    """What metrics are fed, which objects take along, and those that are not in Keras' file."""

    of_compilation = True

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        head_metrics.feed_functions(new, head_metrics.function_feeds(old))

    def to_record(self, model: keras.Model) -> Record:
        rows = head_metrics.to_rows(model) if model.compiled else {}
        return {"metric_feeds": rows} if rows else {}

    def from_record(self, model: keras.Model, record: Record) -> None:
        if model.compiled and record.get("metric_feeds"):
            head_metrics.from_rows(model, record["metric_feeds"])


class Multipliers(Facet):
    """Learning-rate multipliers, variables without decay, and those that still warm up."""

    of_compilation = True
    progress = ("warming",)

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        if old.optimizer is not None:
            rate_multipliers.carry(old.optimizer, new.optimizer)

    def to_record(self, model: keras.Model) -> Record:
        factors: Record = {}
        warming: Record = {}
        for path, name, variable in _variables(model) if _optimizer(model) else ():
            row = rate_multipliers.described(model.optimizer, {name: variable})
            if row:
                factors.setdefault(path, {}).update(row)
            warm = rate_multipliers.warming(model.optimizer, variable)
            if warm:
                warming.setdefault(path, {})[name] = list(warm)
        return {"step_factors": factors, "warming": warming}

    def from_record(self, model: keras.Model, record: Record) -> None:
        rows = _by_variable(model, record.get("step_factors"))
        if rows:
            undecayed = [variable for variable, (_, decays) in rows if not decays]
            factors = [(variable, float(factor)) for variable, (factor, _) in rows]
            rate_multipliers.set_factors(model.optimizer, factors, undecayed)
        warming = _by_variable(model, record.get("warming"))
        if warming:
            begun = [(variable, int(first), int(steps)) for variable, (first, steps) in warming]
            rate_multipliers.set_warming(model.optimizer, begun)


class OptimizerState(Facet):
    """The optimizer's state where variables are frozen in ways that Keras does not write down.

    Keras loads a file before it is known which those are, finds an optimizer for fewer variables
    than train, and drops its state.
    """

    of_compilation = True
    progress = ("optimizer",)

    def to_record(self, model: keras.Model) -> Record:
        optimizer = _optimizer(model)
        forgotten = _forgets_flags(model) or any(
            _frozen_in(place.layer) for place in graph.leaves(model)
        )
        if optimizer is None or not optimizer.built or not forgotten:
            return {}
        values = [_values(variable) for variable in optimizer.variables]
        return {"optimizer": values, "fresh_optimizer": True}

    def from_record(self, model: keras.Model, record: Record) -> None:
        optimizer = _optimizer(model)
        if optimizer is None or not ("optimizer" in record or record.get("fresh_optimizer")):
            return
        if optimizer.built:
            optimizer_state.refit(optimizer, model.trainable_variables)
        else:
            optimizer.build(model.trainable_variables)
        values = record.get("optimizer", optimizer.variables)
        for variable, value in zip(optimizer.variables, values, strict=True):
            variable.assign(value)
        compiled.renew(model)


class StashedSlots(Facet):
    """The optimizer's state of variables that do not train now."""

    of_compilation = True
    progress = ("stashed",)

    def carry(self, old: keras.Model, new: keras.Model) -> None:
        if old.optimizer is None:
            return
        mine = {id(variable): variable for variable in new.weights}
        found = optimizer_state.stashed(rate_multipliers.innermost(old.optimizer))
        rows = [(mine[key], slots) for key, slots in found.items() if key in mine]
        optimizer_state.stash(rate_multipliers.innermost(new.optimizer), rows)

    def to_record(self, model: keras.Model) -> Record:
        rows: Record = {}
        optimizer = _optimizer(model)
        if optimizer is not None:
            found = optimizer_state.stashed(rate_multipliers.innermost(optimizer))
            for path, name, variable in _variables(model):
                if found.get(id(variable)):
                    rows.setdefault(path, {})[name] = found[id(variable)]
        return {"stashed": rows}

    def from_record(self, model: keras.Model, record: Record) -> None:
        rows = _by_variable(model, record.get("stashed"))
        if rows:
            optimizer_state.stash(rate_multipliers.innermost(model.optimizer), rows)


# In this order: a later one may ask what an earlier one has put back.
FACETS: tuple[Facet, ...] = (
    Known(),
    FrozenLayers(),
    FrozenVariables(),
    RegularizersBefore(),
    Choices(),
    LabelSmoothing(),
    TargetScale(),
    MetricFeeds(),
    Multipliers(),
    OptimizerState(),
    StashedSlots(),
)


def carry(old: keras.Model, new: keras.Model) -> None:
    """Gives all state to a model made of another's layers, which is compiled as the other is."""
    for facet in FACETS:
        if not facet.of_compilation:
            facet.carry(old, new)
    carry_compilation(old, new)


def carry_compilation(old: keras.Model, new: keras.Model) -> None:
    """Compiles a model as the one it was made of, if that is compiled, in equal state."""
    if old.compiled:
        compiled.compile_as(old, new)
        for facet in FACETS:
            if facet.of_compilation:
                facet.carry(old, new)


def to_record(model: keras.Model, *, optimizer: bool = True) -> Record:
    """All state of a model, as JSON but for arrays, with its optimizer's progress or without."""
    record: Record = {}
    for facet in FACETS:
        rows = facet.to_record(model)
        record |= {key: row for key, row in rows.items() if optimizer or key not in facet.progress}
    return record


def from_record(model: keras.Model, record: Record) -> None:
    """Puts back what `to_record` gave, on a model of the same layers."""
    for facet in FACETS:
        facet.from_record(model, record)


def _flags(model: keras.Model) -> list[int]:
    """Whether each layer trains, by its place: names inside of composite layers are no rule."""
    return [int(place.layer.trainable) for place in _with_weights(model)]


def _with_weights(model: keras.Model) -> list[graph.Place]:
    return [place for place in graph.walk(model) if place.layer.weights]


def _forgets_flags(model: keras.Model) -> bool:
    """Whether something trains, in a model as Keras loads it, that is frozen now."""
    return any(
        not place.layer.trainable
        and all(outer.trainable for outer in place.ancestors)
        and not keras_internals.lists_its_layers(place.ancestors[-1])
        for place in _with_weights(model)
    )


def _layers(model: keras.Model) -> dict[str, Any]:
    return {place.path: place.layer for place in graph.walk(model)}


def _variables(model: keras.Model) -> Variables:
    """The variables that train or could."""
    for place in graph.leaves(model):
        for variable in keras_internals.own_trainable_variables(place.layer):
            yield place.path, variable.name, variable


def _by_variable(model: keras.Model, record: Record | None) -> list[tuple[Any, Any]]:
    """The rows of a record with the variables that they are of; none without an optimizer."""
    if not record or _optimizer(model) is None:
        return []
    variables = {(path, name): variable for path, name, variable in _variables(model)}
    return [
        (variables[path, name], row) for path, rows in record.items() for name, row in rows.items()
    ]


def _optimizer(model: keras.Model) -> Any:
    """The optimizer of a compiled model, if it is one whose state goes by variable."""
    optimizer = model.optimizer if model.compiled else None
    return None if hasattr(optimizer, "optimizers") else optimizer


def _frozen_in(layer: keras.layers.Layer) -> frozenset[str]:
    """The names of the variables that are frozen one by one."""
    now = keras_internals.own_trainable_variables(layer) if layer.trainable else []
    return metadata.frozen_variables(layer) | {v.name for v in now if not v.trainable}


def _values(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))
