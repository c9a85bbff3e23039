"""Baselines without a pretrained model: the majority class, and raw pixels."""

import keras
import numpy as np

from finetunekit.quickstart.examples import Examples

_EPOCHS, _BATCH_SIZE = 40, 50
_L2 = 1e-2


def majority_class(examples: Examples) -> np.ndarray:
    """Predicts, for every test image, the class that is most frequent in the training part.

    Args:
        examples: What to learn from and what to predict.

    Returns:
        Integer labels, int `(len(x_test),)`; of equally frequent classes the first.

    Example:
        ```python
        from finetunekit.quickstart.baselines import majority_class
        from finetunekit.quickstart.surfaces import load_surfaces

        examples = load_surfaces(train=1, test=2)
        assert not majority_class(examples).any()
        ```
    """
    counts = np.bincount(examples.y_train, minlength=len(examples.class_names))
    return np.full(len(examples.y_test), int(counts.argmax()))


def raw_pixels(examples: Examples) -> tuple[np.ndarray, int]:
    """Predicts with a logistic regression on the pixels, with L2 regularization.

    Args:
        examples: What to learn from and what to predict.

    Returns:
        Integer labels, int `(len(x_test),)`, and the number of trainable parameters.

    Example:
        ```python
        from finetunekit.quickstart.baselines import raw_pixels
        from finetunekit.quickstart.surfaces import load_surfaces

        predicted, parameters = raw_pixels(load_surfaces(train=1, test=2))
        assert parameters == (96 * 96 * 3 + 1) * 10
        ```
    """
    model = keras.Sequential(
        [
            keras.Input(examples.image_shape),
            keras.layers.Rescaling(1 / 127.5, offset=-1.0),
            keras.layers.Flatten(),
            keras.layers.Dense(
                len(examples.class_names),
                activation="softmax",
                kernel_initializer="zeros",
                kernel_regularizer=keras.regularizers.L2(_L2),
            ),
        ],
        name="raw_pixels",
    )
    # The pixels are many and alike: at Adam's usual 1e-3 their sum would overshoot.
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="sparse_categorical_crossentropy")
    model.fit(examples.x_train, examples.y_train, batch_size=_BATCH_SIZE, epochs=_EPOCHS, verbose=0)
    return model.predict(examples.x_test, verbose=0).argmax(axis=-1), model.count_params()
