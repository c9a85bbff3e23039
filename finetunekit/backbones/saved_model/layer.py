"""`SavedModelLayer`: a SavedModel as a Keras layer that owns its variables."""

import dataclasses
import os
from typing import Any

import keras

from finetunekit.backbones.saved_model import endpoints, folder, groups, opening, structures
from finetunekit.backbones.saved_model.groups import SavedVariable, VariableSpec
from finetunekit.foundation import keras_internals

_ASSET = "saved_model"


class _Contents:
    """What a layer knows of its SavedModel; a plain object, which Keras does not track."""

    def __init__(self, described: dict[str, Any], *, safe_mode: bool) -> None:
        self.digest: str = described["digest"]
        self.calls: list[list[Any]] = [list(call) for call in described["calls"]]
        self.safe_mode = safe_mode
        self.only_shapes = False  # Whether `call` runs to learn shapes, and counts no penalties.
        self.opened: opening.Opened | None = None
        self.penalties: list[tuple[Any, list[SavedVariable]]] = []
        self.leaves: list[SavedVariable] = []


@keras.saving.register_keras_serializable("finetunekit")
class SavedModelLayer(keras.layers.Layer):
    """A SavedModel as a Keras layer that trains, with any optimizer; makes a new layer.

    Each variable is a layer of its own below this one, at the variable's path, so that
    `freeze_layers(model, "block1")` and all other selectors work. The SavedModel itself is saved
    inside the `.keras` file. A signature is for inference only; its variables do not train.
    The statistics of BatchNormalization do not change until they are unfrozen.

    Args:
        path: A SavedModel folder.
        signature: The function or signature to call; by default `__call__`, then `serve`, then
            `serving_default`.
        safe_mode: Whether to refuse graphs with ops that are not known to be harmless, such as
            those that write files.
        name: The layer's name.
        described: The record of `get_config`; Keras passes it when a model is loaded.
        layer_options: `trainable`, as in any Keras layer.

    Raises:
        ValueError: If the SavedModel is damaged, refused in safe mode, or cannot be called.
        OSError: If there is no such folder.

    Example:
        ```python
        import keras
        import finetunekit as ftk

        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).export("exported")
        layer = ftk.SavedModelLayer("exported")
        model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1)])
        assert len(model.trainable_variables) == 4
        ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        signature: str | None = None,
        safe_mode: bool = True,
        name: str | None = None,
        described: dict[str, Any] | None = None,
        **layer_options: Any,
    ) -> None:
        trainable = layer_options.pop("trainable", True)
        layer_options["dtype"] = "float32"  # Inputs get the dtype that the graph was made for.
        super().__init__(name=name, autocast=False, **layer_options)
        self.supports_jit = False  # Graphs hold ops that XLA does not know, such as on strings.
        self.signature = signature
        if described is not None:
            specs = [VariableSpec(**spec) for spec in described["variables"]]
            self._grow(described, specs, safe_mode)
            from_file = keras_internals.safe_mode_of_loading() is not None
            stored = folder.living(self._contents.digest, checked=from_file and safe_mode)
            if stored is not None:
                self._bind(stored, "the SavedModel of another layer")
        else:
            self._load(path, safe_mode)
        self.built = True
        self._note_outputs()
        if not trainable:
            self.trainable = False
        if described is not None:
            self._restore(described)

    def _load(self, path: Any, safe_mode: bool) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"`path` must be a SavedModel folder. Received: path={path!r}")
        source = os.fspath(path)
        stored = folder.Folder(source, safe_mode=safe_mode)
        opened = opening.open_folder(stored, source, self.signature)
        self._grow({"digest": stored.digest, "calls": []}, opened.specs, safe_mode)
        self._adopt(opened)
        still = [leaf for leaf in self._contents.leaves if leaf.is_batch_norm_statistic]
        for leaf in still:
            leaf.trainable = False
        opening.tell(opened, source, len(still))

    def _restore(self, described: dict[str, Any]) -> None:
        """Restores the flags of single variables."""
        for leaf in self._contents.leaves:
            if leaf.spec.path in described["frozen"]:
                leaf.trainable = False
            penalty = described["regularizers"].get(leaf.spec.path)
            leaf.variable.regularizer = keras.regularizers.get(penalty)

    def _grow(self, described: dict[str, Any], specs: list[VariableSpec], safe_mode: bool) -> None:
        self._contents = _Contents(described, safe_mode=safe_mode)
        self.parts, self._contents.leaves = groups.plant(specs, self.name)

    def _bind(self, stored: folder.Folder, source: str) -> None:
        """Loads the SavedModel and puts its variables into the leaves that are there already."""
        opened = opening.open_folder(stored, source, self.signature)
        if opened.specs != [leaf.spec for leaf in self._contents.leaves]:
            raise ValueError(
                f"The SavedModel of layer {self.name!r} does not have the variables that its "
                "config lists: the file is damaged. Save the model again. "
                f"Received: name={self.name!r}"
            )
        self._adopt(opened)

    def _adopt(self, opened: opening.Opened) -> None:
        leaves = {}
        for leaf, variable in zip(self._contents.leaves, opened.variables, strict=True):
            leaf.adopt(variable)
            leaves[id(variable.handle)] = leaf
        self._contents.penalties = [
            (function, [leaves[key] for key in ids if key in leaves])
            for function, ids in endpoints.regularizers(opened.loaded, opened.endpoint)
        ]
        self._contents.digest = opened.folder.digest
        self._contents.opened = opened
        self.loaded = opened.loaded  # As an attribute, so that `export` finds tables and assets.

    @property
    def digest(self) -> str:
        """The SHA-256 of the SavedModel's files."""
        return self._contents.digest

    @property
    def input_specs(self) -> Any:
        """The structure of `tf.TensorSpec` that the SavedModel takes."""
        return self._opened().endpoint.inputs

    def _opened(self) -> opening.Opened:
        opened = self._contents.opened
        if opened is None:
            raise ValueError(
                f"The SavedModel of layer {self.name!r} is not there: it comes with the '.keras' "
                "file, and this layer was made from a config alone. Load the whole model, or make "
                "the layer from its folder, `SavedModelLayer(path)`. "
                f"Received: name={self.name!r}"
            )
        return opened

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Runs the SavedModel, in training mode where something of it trains."""
        endpoint = self._opened().endpoint
        mode = endpoint.mode(bool(training) and self._runs_in_training())
        changes = mode or not endpoint.modes
        held = [leaf for leaf in self._contents.leaves if changes and _must_stand_still(leaf)]
        before = [_copied(leaf.variable.value) for leaf in held]
        outputs = self._run(endpoint, inputs, mode)
        for leaf, value in zip(held, before, strict=True):
            leaf.variable.value.assign(value)
        for penalty, leaves in self._contents.penalties:
            if not self._contents.only_shapes and any(leaf.variable.trainable for leaf in leaves):
                self.add_loss(penalty())
        if any(output.shape.rank is None for output in keras.tree.flatten(outputs)):
            raise ValueError(
                f"The SavedModel of layer {self.name!r} does not say how many dimensions its "
                "outputs have, which Keras must know. Export it again with outputs of known rank. "
                f"Received: name={self.name!r}"
            )
        return outputs

    def _run(self, endpoint: endpoints.Endpoint, inputs: Any, mode: bool) -> Any:
        try:
            return endpoint.call(inputs, mode)
        except (TypeError, ValueError) as error:
            if str(error).startswith("`inputs`"):
                raise
            raise ValueError(
                f"`inputs` do not fit the SavedModel of layer {self.name!r}, which takes "
                f"{structures.described(endpoint.inputs)}. "
                f"Received: inputs={structures.described(inputs)}"
            ) from error

    def _runs_in_training(self) -> bool:
        """Whether its own statistics are to be updated or, if it has none, any variable trains."""
        leaves = self._contents.leaves
        written = [leaf for leaf in leaves if leaf.spec.written]
        return any(leaf.trainable for leaf in written or leaves)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        """The outputs, by tracing the graph; without it, the outputs recorded when it was saved."""
        key = structures.described(inputs)
        known = [call for call in self._contents.calls if call[0] == key]
        if not known and self._contents.opened is not None:
            outputs = self._traced(inputs)
            self._contents.calls.append([key, structures.described(outputs)])
            known = self._contents.calls[-1:]
        known = known or self._contents.calls[:1]
        if not known:
            self._opened()
        return structures.symbolic(known[0][1])

    def _note_outputs(self) -> None:
        """Records the outputs for the inputs that the SavedModel was made for."""
        contents = self._contents
        if contents.calls or contents.opened is None:
            return
        specs = keras.tree.flatten(contents.opened.endpoint.inputs)
        if all(endpoints.is_dense(spec) and spec.shape.rank is not None for spec in specs):
            inputs = structures.described(contents.opened.endpoint.inputs)
            self.compute_output_spec(structures.symbolic(inputs))

    def _traced(self, inputs: Any) -> Any:
        self._contents.only_shapes = True
        try:
            return super().compute_output_spec(inputs, training=False)
        finally:
            self._contents.only_shapes = False

    def get_config(self) -> dict[str, Any]:
        """The variables, inputs and outputs; the SavedModel itself is an asset."""
        contents = self._contents
        described = {
            "digest": contents.digest,
            "calls": contents.calls,
            "variables": [dataclasses.asdict(leaf.spec) for leaf in contents.leaves],
            "frozen": [leaf.spec.path for leaf in contents.leaves if not leaf.trainable],
            "regularizers": {
                leaf.spec.path: keras.regularizers.serialize(leaf.variable.regularizer)
                for leaf in contents.leaves
                if leaf.variable.regularizer is not None
            },
        }
        return {**super().get_config(), "signature": self.signature, "described": described}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SavedModelLayer":
        """A layer whose SavedModel is loaded later, unless this process already has it."""
        if config.get("described") is None:
            raise ValueError(  # Else a file could have any SavedModel of this computer packed.
                f"The config of layer {config.get('name')!r} does not describe its SavedModel: "
                "the file is damaged or malicious. Save the model again. "
                f"Received: config keys={sorted(config)}"
            )
        return cls(**config, safe_mode=keras_internals.safe_mode_of_loading() is not False)

    def save_assets(self, dir_path: str) -> None:
        """Puts the SavedModel into the archive."""
        self._opened().folder.copy_to(os.path.join(dir_path, _ASSET))

    def load_assets(self, dir_path: str | None) -> None:
        """Takes the SavedModel out of the archive; its tuned values come after it."""
        source = os.path.join(dir_path or "", _ASSET)
        if dir_path is None or not os.path.isdir(source):
            raise ValueError(
                f"The file holds no SavedModel for layer {self.name!r}: it is damaged. Save the "
                f"model again. Received: name={self.name!r}"
            )
        stored = folder.Folder(source, safe_mode=self._contents.safe_mode)
        opened = self._contents.opened
        if opened is None or opened.folder.digest != stored.digest:
            self._bind(stored, source)


def _must_stand_still(leaf: SavedVariable) -> bool:
    """Whether a call may change the variable, although it is frozen."""
    frozen = not leaf.variable.trainable if leaf.spec.trainable else not leaf.trainable
    return leaf.spec.written and frozen


def _copied(value: Any) -> Any:
    import tensorflow as tf

    return tf.identity(value.read_value())
