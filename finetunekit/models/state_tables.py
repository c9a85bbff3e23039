"""Weak tables by model, layer or optimizer, for what Keras has no place for.

All of them are here; `model_state.py` says what becomes of each when a model is copied or saved.
"""

import weakref
from typing import Any

# Model or layer -> `metadata.Metadata`.
METADATA: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()
# Layer -> names of its trainable-kind variables that stay frozen when it is unfrozen.
FROZEN_VARIABLES: "weakref.WeakKeyDictionary[Any, frozenset[str]]" = weakref.WeakKeyDictionary()
# Layer with an injected penalty -> the regularizers that it had before.
REGULARIZERS_BEFORE: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()
# Optimizer -> `rate_multipliers.StepSizes`.
MULTIPLIERS: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()
# Optimizer -> `id(variable)` -> the variable, which does not train now, and its slots.
STASHED: "weakref.WeakKeyDictionary[Any, dict[int, tuple[Any, dict[str, Any]]]]" = (
    weakref.WeakKeyDictionary()
)
# Optimizer -> the model that it was given to: one object must not serve two. Of this process only.
OWNER: "weakref.WeakKeyDictionary[Any, weakref.ref[Any]]" = weakref.WeakKeyDictionary()
# Model -> what its traced functions were made from, as of the last look. Of this process only.
TRACED_FROM: "weakref.WeakKeyDictionary[Any, tuple[Any, ...]]" = weakref.WeakKeyDictionary()
