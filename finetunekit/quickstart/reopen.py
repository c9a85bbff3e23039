"""A check that the saved model works without this library, in a process with Keras alone.

`start` is the side that asks; run by its path, this file is the process that answers:

    python reopen.py MODEL.keras IMAGES.npy PROBABILITIES.npy
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

BATCH_SIZE = 100
"""Images predicted at once, the same on both sides: the sums are then formed alike."""


def start(model_path: str | os.PathLike[str], images: Any) -> Callable[[], Any]:
    """Starts a process that opens a model with Keras alone, and does not wait for it.

    Args:
        model_path: A `.keras` file.
        images: What to predict, `(n, height, width, 3)`.

    Returns:
        A function that waits for the process and returns the probabilities `(n, classes)`. It
        raises `RuntimeError` with what the process wrote if it failed.

    Example:
        ```python
        import finetunekit as ftk
        from finetunekit.quickstart import reopen

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        wait = reopen.start(ftk.save(model, "tuned.keras"), x_test)
        assert wait().shape == (32, 1)
        ```
    """
    import numpy as np

    folder = tempfile.TemporaryDirectory(prefix="finetunekit-")
    given, found = (os.path.join(folder.name, name) for name in ("given.npy", "found.npy"))
    np.save(given, images)
    # -P: the folder of this file stays off the path.
    command = [sys.executable, "-P", __file__, os.fspath(model_path), given, found]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def wait() -> Any:
        with folder:
            text, _ = process.communicate()
            if process.returncode:
                raise RuntimeError(
                    f"The fresh process could not open {os.fspath(model_path)!r}:\n{text}"
                )
            return np.load(found)

    return wait


def main(model_path: str, images_path: str, probabilities_path: str) -> None:
    """Opens a model with plain Keras, predicts, and writes the probabilities.

    Args:
        model_path: A `.keras` file.
        images_path: A `.npy` file of images `(n, height, width, 3)`.
        probabilities_path: The `.npy` file to write, `(n, classes)`.

    Raises:
        SystemExit: If finetunekit can be imported after all.
    """
    sys.modules["finetunekit"] = None  # type: ignore[assignment]  # Its import fails from here on.
    import keras
    import numpy as np

    model = keras.saving.load_model(model_path)
    images = np.load(images_path)
    np.save(probabilities_path, model.predict(images, batch_size=BATCH_SIZE, verbose=0))
    if finetunekit_can_be_imported():
        raise SystemExit("finetunekit can be imported here, so this proves nothing")


def finetunekit_can_be_imported() -> bool:
    """Whether an import of the library succeeds in this process."""
    try:
        import finetunekit  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
