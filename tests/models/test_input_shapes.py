"""Are shapes of inputs compared as Keras does, with a remedy that fits the model?"""

from __future__ import annotations

import keras
import pytest

from finetunekit.models import input_shapes
from models import L


def net(*shape: int, data_format: str = "channels_last") -> keras.Model:
    layers = [keras.Input(shape), L.Conv2D(2, 1, data_format=data_format)]
    return keras.Sequential(layers, name="net")


def test_a_missing_or_spare_last_axis_of_one_is_fine() -> None:
    assert input_shapes.fits((8, 28, 28), (None, 28, 28, 1))
    assert input_shapes.fits((8, 4, 1), (None, 4))
    assert not input_shapes.fits((8, 28, 28), (None, 28, 28, 3))
    assert input_shapes.fits((None, 28, 28, 3), (None, None, None, 3))


@pytest.mark.parametrize(
    ("shape", "data_format", "found", "remedy"),
    [
        ((8, 9, 3), "channels_last", (4, 3, 8, 9), "np.moveaxis(x, 1, -1)"),
        ((8, 9, 3), "channels_last", (4, 8, 9, 1), "Grey images become RGB"),
        ((8, 9, 3), "channels_last", (4, 8, 9, 4), "Drop the alpha channel"),
        ((8, 9, 3), "channels_last", (4, 6, 6, 3), "keras.layers.Resizing(8, 9, "),
        ((8, 9, 3), "channels_last", (8, 9, 3), "add the batch axis"),
        ((3, 8, 9), "channels_first", (4, 8, 9, 3), "np.moveaxis(x, -1, 1)"),
        ((3, 8, 9), "channels_first", (4, 3, 6, 6), "data_format='channels_first')(x)"),
        ((3, 8, 9), "channels_first", (4, 1, 9, 24), "x.reshape(len(x), 3, 8, 9)"),
    ],
)
def test_the_remedy(
    shape: tuple[int, ...], data_format: str, found: tuple[int, ...], remedy: str
) -> None:
    model = net(*shape, data_format=data_format)
    assert remedy in input_shapes.remedy_for_shape((None, *shape), found, model)
