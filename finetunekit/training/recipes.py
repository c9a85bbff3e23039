"""Known recipes, as lists of stages to look at and change."""

from typing import Any

import keras

from finetunekit.foundation import arguments
from finetunekit.optimizers import depth
from finetunekit.training.stage import Stage


def probe_then_finetune(
    model: keras.Model,
    *,
    probe_epochs: int = 5,
    epochs: int = 5,
    probe_rate: float | str = "auto",
    learning_rate: float | str = "auto",
    layer_decay: float | None = None,
) -> list[Stage]:
    """First the head, then everything: a random head spoils good features; changes nothing.

    Args:
        model: The model to train.
        probe_epochs: Epochs for the head.
        epochs: Epochs for everything, the rate falling along a cosine.
        probe_rate: The rate of the head, as for `Stage`.
        learning_rate: The rate of everything, as for `Stage`.
        layer_decay: As for `layerwise_optimizer`, for everything.

    Returns:
        Two stages for `fit_in_stages`.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        stages = ftk.probe_then_finetune(model, probe_epochs=2, epochs=1)
        history = ftk.fit_in_stages(model, x_train, y_train, stages=stages, verbose=0)
        ```

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
        Out-of-Distribution", arXiv:2202.10054 (LP-FT).
    """
    head = _by_depth(model)[-1]
    return [
        Stage(trainable=head, epochs=probe_epochs, learning_rate=probe_rate, name="probe"),
        Stage(
            trainable=".*",
            epochs=epochs,
            learning_rate=learning_rate,
            schedule="cosine",
            layer_decay=layer_decay,
            name="fine-tune",
        ),
    ]


def gradual_unfreezing(
    model: keras.Model,
    *,
    epochs: int = 1,
    last_epochs: int = 3,
    layer_decay: float | None = 1 / 2.6,
    most: int | None = None,
) -> list[Stage]:
    """One block more in each stage, from the output to the input; changes nothing.

    Args:
        model: The model to train. Blocks are those of `layerwise_optimizer`.
        epochs: Epochs for each stage.
        last_epochs: Epochs for the last, in which everything trains.
        layer_decay: As for `layerwise_optimizer`, in each stage.
        most: How many stages; blocks are then unfrozen several at a time. None for one a block.

    Returns:
        Stages for `fit_in_stages`, each with a slanted triangular rate.

    Raises:
        ValueError: If there are fewer than two blocks, or `most` is less than 2.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        stages = ftk.gradual_unfreezing(model, last_epochs=1, most=3)
        assert len(stages) == 3
        ```

    Source: Howard, Ruder, "Universal Language Model Fine-tuning for Text Classification",
        arXiv:1801.06146.
    """
    found = _by_depth(model)
    if len(found) < 2 or (most is not None and (isinstance(most, bool) or most < 2)):
        raise ValueError(
            "`most` must be at least 2, and the model must have two blocks to unfreeze in turn. "
            f"Received: most={most!r}, {len(found)} blocks"
        )
    count = min(most or len(found), len(found))
    stages = []
    for number in range(count):
        # The first stage is the head alone, the last one everything.
        unfrozen = 1 + round(number * (len(found) - 1) / (count - 1))
        layers = [layer for group in found[len(found) - unfrozen :] for layer in group]
        stages.append(
            Stage(
                trainable=layers,
                epochs=last_epochs if number == count - 1 else epochs,
                schedule="slanted_triangular",
                layer_decay=layer_decay,
                name="all" if number == count - 1 else f"last {unfrozen}",
            )
        )
    return stages


def head_then_top_then_all(
    model: keras.Model,
    *,
    head_epochs: int = 5,
    top_epochs: int = 3,
    epochs: int = 2,
    top: float = 0.3,
) -> list[Stage]:
    """The head, then the last part of the backbone with it, then everything; changes nothing.

    Args:
        model: The model to train.
        head_epochs: Epochs for the head.
        top_epochs: Epochs for the head and the top.
        epochs: Epochs for everything.
        top: The share of the backbone's blocks that is the top.

    Returns:
        Three stages for `fit_in_stages`.

    Raises:
        ValueError: If `top` is not a share between 0 and 1.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        stages = ftk.head_then_top_then_all(model, top=0.5)
        assert [stage.name for stage in stages] == ["head", "top", "all"]
        ```
    """
    arguments.check_number(top, "top", arguments.SHARE, "the share of the backbone's blocks")
    found = _by_depth(model)
    count = max(1, round(top * (len(found) - 1)))
    last = [layer for group in found[-count - 1 :] for layer in group]
    return [
        Stage(trainable=found[-1], epochs=head_epochs, name="head"),
        Stage(trainable=last, epochs=top_epochs, name="top"),
        Stage(trainable=".*", epochs=epochs, name="all"),
    ]


def _by_depth(model: Any) -> list[list[Any]]:
    """The layers of each block, from the input to the output; the last is the head."""
    arguments.check_model(model)
    return [layers for _, layers in depth.groups(model)]
