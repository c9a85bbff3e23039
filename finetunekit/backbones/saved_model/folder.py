"""SavedModel folders, checked, with a private copy for the next save."""

import hashlib
import math
import os
import re
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from finetunekit.backbones.saved_model import safety
from finetunekit.foundation import contents
from finetunekit.foundation.messages import listed

_GRAPH = "saved_model.pb"
_KEPT_FOLDERS = ("variables", "assets", "assets.extra")
_CHUNK = 2**20
_LARGEST_GRAPH = 2**31  # Protobuf reads no more.

# Folders that live now, by what is in them: a copy of a model finds its SavedModel here.
_living: "weakref.WeakValueDictionary[str, Folder]" = weakref.WeakValueDictionary()


class Folder:
    """A private copy of a checked SavedModel; it is removed with its last user.

    Loaded is just what was checked, and a model can be saved after its source has gone.

    Args:
        path: A SavedModel folder.
        safe_mode: Whether to refuse ops that are not known to be harmless.
    """

    def __init__(self, path: str, *, safe_mode: bool) -> None:
        message, graph = _read_graph(path)
        if safe_mode:
            safety.check(message, path)
        files = _files(path, follow_links=not safe_mode)
        self.path = tempfile.mkdtemp(prefix="finetunekit-")
        self._cleaner = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self.checked = safe_mode
        self.tags = _tags(message)
        digest = hashlib.sha256(graph)
        Path(self.path, _GRAPH).write_bytes(graph)
        for name, source in files.items():
            digest.update(name.encode())
            _copy(source, Path(self.path, name), digest)
        self.digest = digest.hexdigest()
        _check_variables(self.path, path)
        _living[self.digest] = self

    def load(self, source: str) -> Any:
        """TensorFlow's loaded object.

        Raises:
            ValueError: If TensorFlow cannot load it.
        """
        import tensorflow as tf

        try:
            return tf.saved_model.load(self.path, tags=self.tags)
        except Exception as error:  # TensorFlow raises almost any type for a damaged SavedModel.
            lines = str(error).replace(self.path, source).splitlines() or [""]
            raise ValueError(
                "`path` is a SavedModel that TensorFlow cannot load: it is damaged, truncated, or "
                "needs ops of another package, which must be imported first. TensorFlow says: "
                f"{type(error).__name__}: {lines[0][:200]} Received: path={source!r}"
            ) from error

    def copy_to(self, target: str) -> None:
        """Puts the SavedModel into a folder, new or not."""
        shutil.copytree(self.path, target, dirs_exist_ok=True)


def living(digest: str, *, checked: bool) -> Folder | None:
    """The folder of this content, if a model of this process uses it; a checked one only."""
    found = _living.get(digest)
    return found if found is not None and (found.checked or not checked) else None


def _read_graph(path: str) -> tuple[Any, bytes]:
    """The graph as message and as the bytes that it was read from."""
    from tensorflow.core.protobuf import saved_model_pb2

    if not os.path.isdir(path):
        raise FileNotFoundError(
            "`path` must be a SavedModel folder, one with a file saved_model.pb in it. "
            f"There is none. Received: path={path!r}"
        )
    file = Path(path, _GRAPH)
    if not file.is_file():
        there = sorted(entry.name for entry in Path(path).iterdir())
        raise ValueError(
            f"`path` must be a SavedModel folder, with a file {_GRAPH} in it; there are "
            f"{listed(there, 6) or 'no files'}. Received: path={path!r}"
        )
    fault = contents.mistaken(str(file))
    damaged = (
        f"`path` is a folder whose {_GRAPH} {fault or 'is damaged or truncated. Copy it again'}. "
        f"Received: path={path!r}"
    )
    if fault or file.stat().st_size > _LARGEST_GRAPH:
        raise ValueError(damaged)
    message = saved_model_pb2.SavedModel()
    graph = file.read_bytes()
    try:
        message.ParseFromString(graph)
    except Exception as error:  # Which class it is differs between versions of protobuf.
        raise ValueError(damaged) from error
    if not message.meta_graphs:
        raise ValueError(damaged)
    return message, graph


def _tags(message: Any) -> list[str] | None:
    """The tags of the graph to load, if there are several: TensorFlow needs them."""
    choices = [list(graph.meta_info_def.tags) for graph in message.meta_graphs]
    if len(choices) == 1:
        return None
    return next((tags for tags in choices if tags == ["serve"]), min(choices, key=len))


def _files(path: str, *, follow_links: bool) -> dict[str, Path]:
    """The files that belong to a SavedModel, beside its graph: path inside it -> file."""
    root = os.path.realpath(path)
    found = {}
    for folder in _KEPT_FOLDERS:
        for parent, _, names in os.walk(Path(path, folder), followlinks=False):
            for name in names:
                file = Path(parent, name)
                if not file.is_file():
                    continue
                inside = os.path.realpath(file).startswith(root + os.sep)
                if not inside and not follow_links:
                    raise ValueError(
                        "`path` is a SavedModel with a link to a file outside it, "
                        f"{os.path.relpath(file, path)!r}. If you trust its author, copy the file "
                        f"in, or load it with safe_mode=False. Received: path={path!r}"
                    )
                found[file.relative_to(path).as_posix()] = file
    return dict(sorted(found.items()))


def _copy(source: Path, target: Path, digest: Any) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)


def _check_variables(folder: str, source: str) -> None:
    """Raises if the values are not all there, or are said to be larger than their files."""
    import tensorflow as tf

    files = {file.name: file.stat().st_size for file in Path(folder, "variables").glob("*")}
    if not files:
        return
    shards = [re.fullmatch(r"variables\.data-(\d+)-of-(\d+)", name) for name in files]
    counts = {int(match[2]) for match in shards if match}
    there = {int(match[1]) for match in shards if match}
    whole = len(counts) == 1 and there == set(range(next(iter(counts), 0)))
    if not whole or "variables.index" not in files:
        raise ValueError(
            f"`path` is a SavedModel that lacks files of its variables; there are {listed(files)}. "
            f"Copy it again. Received: path={source!r}"
        )
    try:
        reader = tf.train.load_checkpoint(os.path.join(folder, "variables", "variables"))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except Exception as error:  # As in `Folder.load`.
        raise ValueError(
            "`path` is a SavedModel whose variables.index is damaged. Copy it again. "
            f"Received: path={source!r}"
        ) from error
    needed = sum(math.prod(shape) * (dtypes[name].size or 1) for name, shape in shapes.items())
    available = sum(size for name, size in files.items() if name != "variables.index")
    if needed > available:
        raise ValueError(
            f"`path` is a SavedModel whose variables need {needed:,} bytes, but their files hold "
            f"{available:,}: it is truncated or malicious. Copy it again. Received: path={source!r}"
        )
