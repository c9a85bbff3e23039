"""Saving and loading: a `.keras` file with one more member inside."""

import os
import tempfile
import warnings
import zipfile
from typing import Any

import keras

from finetunekit.foundation import arguments, paths
from finetunekit.foundation.messages import listed, obeys_verbose, say, warn
from finetunekit.foundation.partial_files import partial_file
from finetunekit.models import fresh_optimizer, graph, head_metrics, lambdas, saved_files


@obeys_verbose
def save(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    optimizer: bool = True,
    overwrite: bool = True,
    verbose: Any = 1,
) -> str:
    """Saves a model as a `.keras` file that plain Keras opens too; changes nothing in it.

    Task, class names, input contract, origin and variables frozen one by one go into one more
    member of the archive, which Keras ignores and `load` reads. The file is written beside an
    old one and takes its place when it is whole.

    Args:
        model: A built Keras model.
        path: A path that ends in `.keras`, in a folder that exists.
        optimizer: Whether to keep what the optimizer has gathered, such as the moments of Adam,
            which are twice the size of what trains. Without it the file still opens compiled, and
            training goes on as from a new optimizer.
        overwrite: Whether a file of that name may be replaced.
        verbose: 0 for no message.

    Returns:
        The path.

    Raises:
        ValueError: If the path does not end in `.keras`, or the model is not built.
        OSError: If the folder is missing, the file is there and must not be replaced, or nothing
            can be written.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.save(model, "tuned.keras")
        ```
    """
    history = isinstance(model, keras.callbacks.History)
    remedy = "`fit` returns the History; the model itself was trained in place." if history else ""
    arguments.check_model(model, remedy=remedy)
    arguments.check_flag(optimizer, "optimizer")
    if not model.built:
        raise ValueError(
            "`model` is not built, so it has no weights to save. Call it on a batch first. "
            f"Received: model={model!r}"
        )
    target = check_target(path)
    if os.path.exists(target) and not overwrite:
        raise FileExistsError(
            "`path` is there already; give another one, or overwrite=True. "
            f"Received: path={target!r}"
        )
    if model.compiled and model.optimizer is not None and not model.optimizer.built:
        # Else Keras warns at every load that the optimizer's state has been skipped.
        model.optimizer.build(model.trainable_variables)
    with partial_file(target, ".keras") as partial:
        left_out = _write(model, partial, optimizer=optimizer)
    say(f"saved {target} ({os.path.getsize(target) / 1e6:.1f} MB)", verbose)
    _tell_what_is_not_in_it(model, target, left_out, verbose)
    return target


def _tell_what_is_not_in_it(
    model: keras.Model, target: str, left_out: list[str], verbose: Any
) -> None:
    """What plain Keras, or anybody, does not get out of the file."""
    functions = lambdas.needing_their_function(model) if verbose else []
    if functions:
        given = ", ".join(f"{name!r}: function" for name in functions)
        warn(
            f"{target} does not hold the functions of its Lambda layers {listed(functions)}: give "
            f"them to open it, `ftk.load(path, custom_objects={{{given}}})`"
        )
    if left_out:
        say(
            f"the metrics {listed(left_out)} come back with `finetunekit.load`; the file opens in "
            "plain Keras without them",
            verbose,
        )


def _write(model: keras.Model, path: str, *, optimizer: bool) -> list[str]:
    """Writes the archive; the names of the metrics that Keras' part of it goes without."""
    with head_metrics.left_out(model) as left_out:
        _write_with_keras(model, path)
    if not optimizer and model.compiled and model.optimizer is not None:
        fresh_optimizer.forget_progress(path, model.optimizer)
    with zipfile.ZipFile(path, "a") as file:
        saved_files.write(model, file, optimizer=optimizer)
    return list(left_out)


def _write_with_keras(model: keras.Model, path: str) -> None:
    try:
        model.save(path)
    except NotImplementedError as error:
        raise ValueError(
            "`model` holds a layer that cannot be saved, since it does not describe itself: give "
            "its class a `get_config` that returns the arguments of `__init__`. Keras says: "
            f"{str(error).strip().splitlines()[0]} Received: model={model!r}"
        ) from error


def check_target(path: str | os.PathLike[str]) -> str:
    """A path that a model can be saved to.

    Raises:
        ValueError: If it does not end in `.keras`.
        OSError: If its folder is missing or cannot be written to.
    """
    target = arguments.check_path(path, "path")
    if not target.endswith(".keras"):
        raise ValueError(f"`path` must end in '.keras', Keras' format. Received: path={target!r}")
    target = os.path.realpath(target) if os.path.islink(target) else target
    folder = os.path.dirname(target) or "."
    if os.path.isfile(folder):
        raise NotADirectoryError(
            f"`path` lies below {folder!r}, which is a file. Choose a folder. "
            f"Received: path={target!r}"
        )
    if not os.path.isdir(folder):
        remedy = f"Make it first, `os.makedirs({folder!r})`."
        if target.startswith("~"):
            remedy = "Expand the home folder: `os.path.expanduser(path)`."
        raise FileNotFoundError(
            f"`path` lies in a folder that is not there: {folder!r}. {remedy} "
            f"Received: path={target!r}"
        )
    if os.path.isdir(target):
        raise IsADirectoryError(f"`path` is a folder. Give a file. Received: path={target!r}")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise PermissionError(
            f"`path` cannot be written to ({error.strerror}). Choose a folder of your own. "
            f"Received: path={target!r}"
        ) from error
    return target


def copy_model(model: keras.Model) -> keras.Model:
    """A new model, equal in all that `save` keeps, optimizer included; through a temporary file.

    Raises:
        ValueError: If the model cannot be saved.
    """
    content, classes = to_bytes(model)
    return from_bytes(content, {**lambdas.given_by_name(model), **classes})


def to_bytes(model: keras.Model) -> tuple[bytes, dict[str, type]]:
    """The model as `save` writes it, and the classes of others that `from_bytes` needs."""
    kinds = {type(model), *(type(place.layer) for place in graph.walk(model))}
    own = {kind.__name__: kind for kind in kinds if not kind.__module__.startswith("keras.")}
    with tempfile.TemporaryDirectory(prefix="finetunekit-") as folder:
        path = save(model, os.path.join(folder, "model.keras"), verbose=0)
        with open(path, "rb") as file:
            return file.read(), own


def from_bytes(content: bytes, classes: dict[str, Any]) -> keras.Model:
    """The model that `to_bytes` gave; code in it is run, as Keras and pickle do."""
    with tempfile.TemporaryDirectory(prefix="finetunekit-") as folder:
        path = os.path.join(folder, "model.keras")
        with open(path, "wb") as file:
            file.write(content)
        return load(path, custom_objects=classes, safe_mode=False)


def load(
    path: str | os.PathLike[str], *, custom_objects: Any = None, safe_mode: bool = True
) -> keras.Model:
    """Loads a new model from a `.keras` file, with what `save` put there besides.

    Args:
        path: A file that `save` or plain Keras wrote.
        custom_objects: Name -> class or function that the file needs; the function of a Lambda
            layer by the name of the layer.
        safe_mode: Whether to refuse files that hold code (Lambda layers), or take a vocabulary
            from another file.

    Returns:
        The model, compiled as it was saved.

    Raises:
        ValueError: If the file is damaged, of another format, or needs objects that are unknown.
        OSError: If it cannot be read.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        same = ftk.load(ftk.save(model, "tuned.keras"))
        assert same.output_shape == model.output_shape
        ```
    """
    target = paths.check_source(path, "path")
    if not target.endswith(".keras"):
        raise ValueError(
            "`path` must be a '.keras' file; `load_backbone` reads other formats. "
            f"Received: path={target!r}"
        )
    record = saved_files.read_member(target, "path")
    if saved_files.written_by(target).startswith("2."):
        raise ValueError(
            "`path` was written by Keras 2; `load_backbone` rebuilds its model in Keras 3. "
            f"Received: path={target!r}"
        )
    with warnings.catch_warnings(), keras.saving.custom_object_scope(custom_objects or {}):
        if record is not None and ("optimizer" in record or record.get("fresh_optimizer")):
            # `apply` puts in what Keras skips.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        model = saved_files.read_model(
            target, "path", custom_objects=custom_objects, safe_mode=safe_mode
        )
        if record is not None:
            saved_files.apply(model, record, target, "path")
    if record is None:
        warn(f"{target} was not saved by finetunekit: task and class names are not known")
    return model
