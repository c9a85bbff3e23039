"""`copy.deepcopy` and pickle of models, which keep all that `save` keeps.

Keras pickles a model as its own file, in which our state has no place. Python asks its table of
reducers before the class, so no class and no model is changed; models without such state go Keras'
way. `keras.models.clone_model` asks nobody: it makes new weights, and a model that we do not know.
"""

import copyreg
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.models import graph, state_tables


def follow(model: Any) -> None:
    """Has models of this one's class take their state along when they are copied or pickled."""
    kind = type(model)
    if not isinstance(model, keras.Model) or kind in copyreg.dispatch_table:
        return
    own = ("__reduce__", "__reduce_ex__", "__deepcopy__")
    if all(getattr(kind, name, None) is getattr(keras.Model, name, None) for name in own):
        copyreg.pickle(kind, _reduced)


def _reduced(model: Any) -> Any:
    from finetunekit.models import saving  # It stands on what calls `follow`.

    if not model.built or not _has_state(model):
        return model.__reduce__()
    return saving.from_bytes, saving.to_bytes(model)


def _has_state(model: keras.Model) -> bool:
    layers = [model, *(place.layer for place in graph.walk(model))]
    optimizer = model.optimizer if model.compiled else None
    optimizers = [o for o in (optimizer, getattr(optimizer, "inner_optimizer", None)) if o]
    return (
        any(layer in table for layer in layers for table in _BY_LAYER)
        or any(table.get(one) for one in optimizers for table in _BY_OPTIMIZER)
        or any(
            layer.trainable and not variable.trainable
            for layer in layers
            for variable in keras_internals.own_trainable_variables(layer)
        )
    )


_BY_LAYER = (
    state_tables.METADATA,
    state_tables.FROZEN_VARIABLES,
    state_tables.REGULARIZERS_BEFORE,
)
_BY_OPTIMIZER = (state_tables.MULTIPLIERS, state_tables.STASHED)
