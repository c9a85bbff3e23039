"""`add_head` and `replace_head`: a head on a backbone, or another one."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed, say, warn
from finetunekit.models import classifier, data_formats, graph, metadata, model_state, value_ranges
from finetunekit.models.metadata import Task
from finetunekit.tasks.families import family_of, make_task
from finetunekit.tasks.heads import build_head
from finetunekit.tasks.inference import output_activation
from finetunekit.tasks.pooling import pool_features


def add_head(
    backbone: keras.Model,
    task: str | Task,
    num_classes: int | None = None,
    *,
    class_names: Sequence[str] | None = None,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
    l2: float = 0.0,
    activation: str | None = "auto",
    pooling: str | None = "auto",
    output: str | int | None = None,
    augmentation: keras.layers.Layer | Sequence[keras.layers.Layer] | None = None,
) -> keras.Model:
    """Returns a new model, input -> backbone -> head, that shares the backbone's weights.

    The new model is not compiled, since a backbone's old loss belongs to its old output.

    Args:
        backbone: A built Keras model; it is used as it is, never copied or renamed.
        task: `"binary"`, `"multiclass"`, `"multilabel"`, `"regression"`, or a `Task`.
        num_classes: How many outputs; 1 for binary and, unless said, for regression.
        class_names: One name a class, instead of `num_classes`; they travel with the saved model.
            With neither, several classes are those of the head that a Hugging Face folder had.
        hidden_units: Units of Dense layers with ReLU before the output, such as `[128]`.
        dropout: Rate of a Dropout before each Dense layer of the head, 0 for none.
        l2: Strength of an L2 penalty on the head's kernels, 0 for none.
        activation: `"auto"` is the task's (sigmoid, softmax, none); None gives logits.
        pooling: `"auto"` averages over space or tokens where there are any (over unmasked tokens
            if there is a mask), and takes the last token of a model like GPT; `"avg"`, `"max"`,
            `"first"` (BERT's [CLS]) or `"last"` token, `"flatten"`, or None.
        output: Which output of a backbone that has several: a name, a key or an index. Of a text
            model, `"sequence_output"` unless said.
        augmentation: Layers to put in front, active in training only.

    Returns:
        A `keras.Model` whose layers named by `"backbone"` and `"head"` in every selector are
        the parts given here; output of shape `(batch, num_classes)`, float32.

    Raises:
        ValueError: If the backbone is not built, has several outputs and `output` does not say
            which, or the arguments do not fit the task.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        model = ftk.add_head(backbone, "multiclass", class_names=["cat", "dog", "bird"])
        assert model.output_shape == (None, 3)
        ```
    """
    _check_backbone(backbone)
    if metadata.of(backbone).head is not None:
        raise ValueError(
            "`backbone` has a head already. Use `replace_head(model, task)`, which puts another "
            f"one on its backbone. Received: backbone={backbone!r}"
        )
    task = make_task(task, num_classes, _class_names(backbone, task, num_classes, class_names))
    inputs = graph.new_inputs(backbone)
    features = pick_output(backbone(_augmented(inputs, augmentation, backbone)), output, backbone)
    # Outside of the head: a Sequential warns about a mask that its first layer uses well.
    pooling = family_of(task).pooling if pooling == "auto" else pooling
    pooled = _pooled(features, pooling, backbone, inputs, output)
    head = build_head(
        pooled.shape[1:],
        task,
        hidden_units=hidden_units,
        dropout=dropout,
        l2=l2,
        activation=activation,
        pooling=None,
        name="head" if backbone.name != "head" else "task_head",
    )
    model = keras.Model(inputs, head(pooled), name=f"{backbone.name}_{task.name}")
    metadata.carry(
        backbone,
        model,
        task=task,
        backbone=backbone,
        head=head,
        preprocessing_layers=(),
        augmentation=_as_layers(augmentation),
        choices=None,
    )
    return model


def _pooled(features: Any, pooling: Any, backbone: keras.Model, inputs: Any, output: Any) -> Any:
    """A vector of the output picked for each sample; what only other outputs need is frozen."""
    _check_features(backbone, output)
    _freeze_unused(backbone, output)
    layout = pick_output(data_formats.output_layouts(backbone), output, backbone)
    return pool_features(features, pooling, backbone, inputs, layout)


def replace_head(
    model: keras.Model,
    task: str | Task,
    num_classes: int | None = None,
    **head_options: Any,
) -> keras.Model:
    """Returns a new model with another head on the same backbone; the old model stays valid.

    A model that `add_head` did not make loses its classifier: its last layer with weights, a Dense
    layer or a convolution, and what follows it, also inside of a nested model. If it labelled each
    pixel, so does the new one, unless `pooling` is given.
    If the task and its number of outputs stay the same, a compiled model keeps its compile
    configuration and the optimizer state of the backbone; else compile it anew.

    Args:
        model: A model with a head.
        task: The new task, as in `add_head`.
        num_classes: How many outputs, as in `add_head`.
        **head_options: The other options of `add_head`; the augmentation stays unless given.

    Returns:
        A new `keras.Model` that shares the backbone's weights.

    Raises:
        ValueError: If no head can be told from the rest, or the arguments do not fit the task.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        other = ftk.replace_head(model, "multiclass", 5, hidden_units=[32])
        assert other.output_shape == (None, 5)
        ```
    """
    arguments.check_model(model)
    known = metadata.of(model)
    backbone = known.backbone if known.backbone is not None else _without_classifier(model)
    if known.backbone is None and len(model.outputs[0].shape) > 3:
        head_options.setdefault("pooling", None)  # It labels each pixel, and so does the new head.
    if known.augmentation:
        head_options.setdefault("augmentation", known.augmentation)
    new = add_head(backbone, task, num_classes, **head_options)
    if not _keep_compilation(model, new) and model.compiled:
        say(f"{new.name!r} is for another output than {model.name!r}: compile it before training")
    return new


def _keep_compilation(old: keras.Model, new: keras.Model) -> bool:
    """Compiles the new model like the old one if the old loss suits it; says whether it does."""
    before, after = metadata.of(old), metadata.of(new)
    if before.task is None or after.task is None:
        return False
    kinds = [(task.name, task.num_classes) for task in (before.task, after.task)]
    if kinds[0] != kinds[1] or output_activation(old) != output_activation(new):
        return False
    metadata.remember(new, task=dataclasses.replace(after.task, one_hot=before.task.one_hot))
    model_state.carry_compilation(old, new)
    return True


def _class_names(backbone: keras.Model, task: Any, num_classes: Any, class_names: Any) -> Any:
    """The class names given, or where a number is needed, those of the head that the files had."""
    given = num_classes is not None or class_names is not None
    former = () if given else metadata.of(backbone).origin.get("class_names", ())
    if not former or task not in ("multiclass", "multilabel"):
        return class_names
    say(
        f"the head is for the {len(former)} classes that {backbone.name!r} was trained on, "
        f"{listed(former, 6)}; `num_classes=` or `class_names=` gives others"
    )
    return tuple(former)


def _check_backbone(backbone: Any) -> None:
    arguments.check_model(backbone, "backbone", "`load_backbone` makes one of a file or a name.")
    if not graph.is_graph(backbone):
        what = "not built yet" if not backbone.built else "a subclassed model"
        raise ValueError(
            f"`backbone` is {what}, so its inputs are not known. Give it inputs: "
            "`inputs = keras.Input(shape)`, `backbone = keras.Model(inputs, backbone(inputs))`. "
            f"Received: backbone={backbone!r}"
        )


def _augmented(inputs: Any, augmentation: Any, backbone: keras.Model) -> Any:
    if augmentation is None:
        return inputs
    layers = _as_layers(augmentation)
    if not layers or not all(isinstance(layer, keras.layers.Layer) for layer in layers):
        raise TypeError(
            "`augmentation` must be a Keras layer or a list of them. "
            f"Received: augmentation={augmentation!r}"
        )
    if len(keras.tree.flatten(inputs)) != 1:
        raise ValueError(
            "`augmentation` needs a backbone with one input; this one has "
            f"{len(keras.tree.flatten(inputs))}. Augment in the data instead. "
            f"Received: augmentation={augmentation!r}"
        )
    _check_ranges(layers, backbone)
    _check_formats(layers, backbone)
    for layer in layers:
        inputs = keras.tree.map_structure(layer, inputs)
    return inputs


def _check_ranges(layers: Sequence[Any], backbone: keras.Model) -> None:
    contract = metadata.of(backbone).contract
    if contract is None or contract.value_range is None:
        return
    for doubt in value_ranges.doubts(layers, *contract.value_range, backbone.name):
        raise ValueError(f"`augmentation` does not fit the inputs: {doubt}. Received: augmentation")


def _check_formats(layers: Sequence[Any], backbone: keras.Model) -> None:
    """Raises for layers that would take the rows of an image for its channels."""
    if len(backbone.inputs[0].shape) != 4:
        return
    wanted = data_formats.of_input(backbone)
    for layer in layers:
        found = getattr(layer, "data_format", None)
        if found not in (None, wanted):
            raise ValueError(
                f"`augmentation` must take images as {backbone.name!r} does, {wanted}, but "
                f"{layer.name!r} takes them {found}. Give the layer `data_format={wanted!r}`. "
                f"Received: augmentation={layer!r}"
            )


def _freeze_unused(backbone: keras.Model, output: Any) -> None:
    """Freezes what only other outputs are made of: it gets no gradients, which Keras warns of."""
    if len(backbone.outputs) == 1:
        return
    picked = pick_output(backbone.output, output, backbone)
    idle = [x for x in graph.idle_layers(backbone, [picked]) if x.trainable_weights]
    for layer in idle:
        layer.trainable = False
    if idle:
        say(f"froze {listed([x.name for x in idle], 4)}, which the head makes no use of")


def _as_layers(augmentation: Any) -> tuple[Any, ...]:
    if augmentation is None:
        return ()
    return tuple(augmentation) if isinstance(augmentation, (list, tuple)) else (augmentation,)


def pick_output(outputs: Any, wanted: Any, backbone: keras.Model) -> Any:
    """One of a backbone's outputs: the only one, the tokens of a text model, or the one wanted.

    Raises:
        ValueError: If it does not say which.
    """
    flat = keras.tree.flatten(outputs)
    if wanted is None:
        if len(flat) == 1:
            return flat[0]
        if isinstance(outputs, dict) and set(outputs) == {"sequence_output", "pooled_output"}:
            return outputs["sequence_output"]
    elif isinstance(outputs, dict):
        if wanted in outputs:
            return outputs[wanted]
    elif (
        isinstance(wanted, int)
        and not isinstance(wanted, bool)
        and -len(flat) <= wanted < len(flat)
    ):
        return flat[wanted]
    elif isinstance(wanted, str) and wanted in getattr(backbone, "output_names", ()):
        return flat[backbone.output_names.index(wanted)]
    names = list(outputs) if isinstance(outputs, dict) else getattr(backbone, "output_names", [])
    shapes = {name: tensor.shape for name, tensor in zip(names, flat, strict=False)}
    raise ValueError(
        f"`output` must say which output of {backbone.name!r} the head sits on: one of "
        f"{listed(shapes)}, of shapes {list(shapes.values())}, or an index. "
        f"Received: output={wanted!r}"
    )


def _without_classifier(model: keras.Model) -> keras.Model:
    found = classifier.find(model)
    if found is None:
        raise ValueError(
            f"`model`, {model.name!r}, was not made by `add_head`, and its head cannot be told "
            "from the rest: it does not end in a Dense layer, or in a convolution of as many "
            "channels as it has outputs, with a softmax or sigmoid. Cut it yourself, "
            "`backbone = keras.Model(model.inputs, model.get_layer(NAME).output)`, and use "
            f"`add_head`. Received: model={model!r}"
        )
    return classifier.take_off(model, found)


def _check_features(backbone: keras.Model, output: Any) -> None:
    """Warns of class probabilities, which hold little of what the layers before them know."""
    one = isinstance(backbone, keras.Sequential)
    picked = pick_output(backbone.outputs[0] if one else backbone.output, output, backbone)
    number = next(n for n, tensor in enumerate(backbone.outputs) if tensor is picked)
    if not classifier.gives_probabilities(backbone, number):
        return
    found = classifier.find(backbone)
    remedy = (
        "`backbone = keras.Model(backbone.inputs, backbone.get_layer(NAME).output)`"
        if found is None
        else "`load_backbone(..., include_top=False)`, or `replace_head(backbone, task)` instead "
        "of `add_head`"
    )
    warn(
        f"{backbone.name!r} ends in the {classifier.activation(backbone, number)} of a classifier: "
        f"the new head learns from its {picked.shape[-1]} probabilities, not from the features "
        f"before them. Leave the classifier off: {remedy}"
    )
