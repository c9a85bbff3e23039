"""A converted prefix computes what Keras does, and is made again from its bytes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from finetunekit.caching import cut, litert
from models import images, small_backbone


def test_it_computes_what_keras_does_and_is_made_again_from_its_bytes() -> None:
    backbone, x = small_backbone(), images(4)
    split = cut.as_prefix(backbone)
    converted = litert.convert(split, [tf.TensorSpec((4, 16, 16, 3), "float32")])
    (found,) = converted([x])
    assert np.allclose(found, backbone(x), atol=1e-5)
    backbone.layers[1].kernel.assign_add(backbone.layers[1].kernel)  # The weights are its own.
    again = litert.ConvertedPrefix(converted.content)
    assert np.array_equal(again([x])[0], found)
    assert not np.allclose(found, backbone(x), atol=1e-2)
