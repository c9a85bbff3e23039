"""Freezing and unfreezing of layers, and a guard of what does not train."""

from typing import Any

import keras

from finetunekit.foundation import hashing, keras_internals
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.models import compiled, graph, metadata
from finetunekit.models.selection import Selector, find_layers, find_layers_for
from finetunekit.models.trainable_summary import trainable_summary

_LORA_BASES = ("kernel", "embeddings", "reverse_embeddings")


def freeze_layers(
    model: keras.Model, layers: Selector = ".*", *, params: float | None = None
) -> keras.Model:
    """Freezes layers in place: they keep their weights, BatchNormalization its statistics too.

    On a compiled model the stale train and test functions are renewed and the optimizer keeps
    its moments; models made by `add_head` from this one follow.

    Args:
        model: A Keras model of any kind.
        layers: Which layers, as in `find_layers`. `10` means the document's `model.layers[:10]`.
        params: Instead of `layers`, the fraction of the parameters to freeze, from the input on.

    Returns:
        The same model.

    Raises:
        ValueError: If the selector matches nothing.
        TypeError: If the selector is of no known kind.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        ftk.freeze_layers(backbone, 4)
        assert not any(layer.trainable for layer in backbone.layers[:4])
        assert all(layer.trainable for layer in backbone.layers[4:])
        ```
    """
    chosen = list(find_layers(model, layers, params=params).values())
    targets = graph.with_descendants(chosen)
    _before_freezing(model, targets)
    for layer in chosen:
        layer.trainable = False
    compiled.renew_all(targets, model)
    say(f"froze {_count(targets)} of {model.name!r}; {balance(model)}")
    return model


def unfreeze_layers(
    model: keras.Model,
    layers: Selector = ".*",
    *,
    params: float | None = None,
    batch_norm: bool = False,
) -> keras.Model:
    """Unfreezes layers in place; BatchNormalization stays as it is unless asked for.

    The layers around the chosen ones let them train again, and nothing else changes: variables
    that were frozen one by one (the base of a LoRA layer, a bias) stay frozen. So do layers that
    the head makes no use of, such as BERT's pooler, unless nothing else is chosen.

    Args:
        model: A Keras model of any kind.
        layers: Which layers, as in `find_layers`; `-0.3` means the last 30 % of the layers with
            weights, `-20` the last 20 layers.
        params: Instead of `layers`, a fraction of the parameters; negative: the last ones.
        batch_norm: Whether BatchNormalization layers are unfrozen too. Their statistics are those
            of the pretraining data; small batches of new data often spoil them.

    Returns:
        The same model.

    Raises:
        ValueError: If the selector matches nothing, or only BatchNormalization layers while
            `batch_norm` is false.
        TypeError: If the selector is of no known kind.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        ftk.freeze_layers(backbone)
        ftk.unfreeze_layers(backbone, -0.3)
        print(ftk.trainable_summary(backbone))
        ```
    """
    chosen = list(find_layers(model, layers, params=params).values())
    targets = [
        layer for layer in _without_idle(model, chosen) if batch_norm or not _is_batch_norm(layer)
    ]
    if not targets:
        raise ValueError(
            "`layers` matches BatchNormalization layers only, and these stay frozen unless "
            f"`batch_norm=True` is given. Received: layers={layers!r}, batch_norm={batch_norm!r}"
        )
    for affected in (model, *metadata.models_with(targets)):
        compiled.check_refittable(affected)
    _unfreeze(model, targets)
    compiled.renew_all(targets, model)
    say(f"unfrozen {_count(targets)} of {model.name!r}; {balance(model)}")
    return model


def train_only(model: keras.Model, layers: Selector, *, batch_norm: bool = False) -> None:
    """Has exactly the chosen layers train, in place.

    BatchNormalization of the head is as new as the head, and trains with it; elsewhere it stands
    still unless asked for.

    Raises:
        ValueError: If the selector matches nothing that can train.
        TypeError: If the selector is of no known kind.
    """
    targets = targets_of(model, layers, batch_norm=batch_norm)
    every = [place.layer for place in graph.walk(model)]
    _before_freezing(model, every)
    for layer in every:
        layer.trainable = False
    _unfreeze(model, targets)
    compiled.renew_all(every, model)


def _before_freezing(model: keras.Model, layers: list[keras.layers.Layer]) -> None:
    """Checks that all models of these layers can follow, and notes variables frozen one by one."""
    for affected in (model, *metadata.models_with(layers)):
        compiled.check_refittable(affected)
    for layer in layers:
        if layer.trainable:
            metadata.remember_frozen_variables(layer, _individually_frozen(layer))


def targets_of(
    model: keras.Model, layers: Selector, *, batch_norm: bool
) -> list[keras.layers.Layer]:
    """The layers that `train_only` would unfreeze; changes nothing.

    Raises:
        ValueError: If the selector matches nothing that can train.
        TypeError: If the selector is of no known kind.
    """
    chosen = _without_idle(model, list(find_layers_for("trainable", model, layers).values()))
    head = metadata.roles(model).get("head")
    new = {id(layer) for layer in graph.with_descendants([head] if head is not None else [])}
    targets = [a for a in chosen if batch_norm or id(a) in new or not _is_batch_norm(a)]
    if not any(keras_internals.own_trainable_variables(layer) for layer in targets):
        raise ValueError(
            "`trainable` matches no layer with weights that may train; BatchNormalization stays "
            f"frozen unless `batch_norm=True` is given. Received: trainable={layers!r}"
        )
    return targets


def _without_idle(model: keras.Model, chosen: list[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """The chosen layers and all below, but for those that get no gradients, if others are there."""
    every = graph.with_descendants(chosen)
    tuned = metadata.models_on(model) or [model]
    idle = [
        {id(layer) for layer in graph.with_descendants(graph.idle_layers(whole))} for whole in tuned
    ]
    left = [layer for layer in every if not all(id(layer) in found for found in idle)]
    return left if any(map(keras_internals.own_weights, left)) else every


def _is_batch_norm(layer: keras.layers.Layer) -> bool:
    """Whether it is a BatchNormalization, or holds the variables of one in a SavedModel."""
    return isinstance(layer, keras.layers.BatchNormalization) or bool(
        getattr(layer, "holds_batch_norm", False)
    )


def _unfreeze(model: keras.Model, targets: list[keras.layers.Layer]) -> None:
    """Sets the flags of the targets and of the layers around them, and no other.

    Keras' setter reaches down to everything below a layer, so all flags are noted first and set
    again from the top down.
    """
    places = list(graph.walk(model))
    unfrozen = {id(layer) for layer in targets}
    around = {id(a) for place in places if id(place.layer) in unfrozen for a in place.ancestors}
    layers = [model, *(place.layer for place in places)]
    layer_flags = [layer.trainable or id(layer) in unfrozen | around for layer in layers]
    variable_flags = [
        (variable, _unfrozen_flag(layer, variable) if id(layer) in unfrozen else variable.trainable)
        for layer in layers
        for variable in keras_internals.own_trainable_variables(layer)
    ]
    for layer, flag in zip(layers, layer_flags, strict=True):
        layer.trainable = flag
    for variable, flag in variable_flags:
        variable.trainable = flag


def _unfrozen_flag(layer: keras.layers.Layer, variable: Any) -> bool:
    if layer.trainable:
        return bool(variable.trainable)
    # `enable_lora` freezes the base weight; unfreezing the layer must not bring it back.
    is_lora_base = getattr(layer, "lora_enabled", False) and variable.name in _LORA_BASES
    return variable.name not in metadata.frozen_variables(layer) and not is_lora_base


def _individually_frozen(layer: keras.layers.Layer) -> frozenset[str]:
    own = keras_internals.own_trainable_variables(layer)
    return frozenset(variable.name for variable in own if not variable.trainable)


def _count(layers: list[keras.layers.Layer]) -> str:
    return plural(sum(bool(keras_internals.own_weights(layer)) for layer in layers), "layer") + (
        " with weights"
    )


def balance(model: keras.Model) -> str:
    """How many parameters train, in words."""
    trainable = sum(row.trainable for row in trainable_summary(model).rows)
    return f"{plural(trainable, 'parameter')} of {_total(model):,} train now"


def _total(model: keras.Model) -> int:
    return sum(graph.parameter_count(place.layer) for place in graph.leaves(model))


class FrozenGuard(keras.callbacks.Callback):
    """Proves that frozen weights and BatchNormalization statistics stood still during `fit`.

    It takes a digest of each when training begins and compares them after the first epoch and at
    the end. It works with plain `model.fit` on any model.

    Raises:
        RuntimeError: In `fit`, as soon as a frozen weight has moved; the message names it.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        ftk.compile_for_task(model)
        guard = ftk.callbacks.FrozenGuard()
        model.fit(x_train, y_train, callbacks=[guard], verbose=0)
        assert guard.guarded > 0
        ```
    """

    changes_frozen_weights = False

    def __init__(self) -> None:
        super().__init__()
        self._digests: dict[str, str] = {}
        self._first_epoch_done = False

    @property
    def guarded(self) -> int:
        """How many frozen variables are watched."""
        return len(self._digests)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the digests."""
        self._digests = {
            name: hashing.array_digest(variable)
            for name, variable in frozen_weights(self.model).items()
        }
        self._first_epoch_done = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares them once, so that a wrong set-up is known early."""
        if not self._first_epoch_done:
            self._compare("after the first epoch")
        self._first_epoch_done = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Compares them again and says so."""
        self._compare("at the end of training")
        say(f"FrozenGuard: {plural(self.guarded, 'frozen variable')} bit-equal after training")

    def _compare(self, when: str) -> None:
        now = frozen_weights(self.model)
        moved = [
            name
            for name, digest in self._digests.items()
            if name in now and hashing.array_digest(now[name]) != digest
        ]
        if moved:
            raise RuntimeError(
                f"Frozen weights have moved {when}: {listed(moved)}. Most often layers were frozen "
                "after `compile`, or a layer that shares them trains. Freeze with "
                "`freeze_layers(model, ...)`, or call `compile` again after freezing."
            )


def frozen_weights(model: keras.Model) -> dict[str, Any]:
    """The variables that must not move: those of frozen layers, and those frozen one by one."""
    found: dict[str, Any] = {}
    for place in graph.leaves(model):
        layer_frozen = not all(part.trainable for part in (*place.ancestors, place.layer))
        kind = {id(variable) for variable in keras_internals.own_trainable_variables(place.layer)}
        for variable in keras_internals.own_weights(place.layer):
            one_by_one = id(variable) in kind and not variable.trainable
            if layer_frozen or one_by_one:
                found[f"{place.path}/{variable.name}"] = variable
    return found
