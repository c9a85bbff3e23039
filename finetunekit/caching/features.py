"""Features for other tools: `cache_features`, `load_features`, `clear_cache`."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetunekit.caching import (
    cut,
    engine_file,
    extract,
    hdf5_table,
    identity,
    memory,
    memory_stores,
    prepared_engines,
)
from finetunekit.caching.extract import Extractor
from finetunekit.caching.progress import Progress
from finetunekit.caching.store import Column, FeatureStore
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import obeys_verbose, say
from finetunekit.models import inputs
from finetunekit.text import lengths

_LABELS = "labels"
_DTYPES = ("float32", "float16")


class CachedFeatures:
    """Features of samples, in memory or in a file.

    Attributes:
        path: The file, or None.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self.path = store.path

    def __len__(self) -> int:
        """The number of samples."""
        return self._store.done

    def __repr__(self) -> str:
        """Number, shape and place."""
        shapes = [c.shape for name, c in self._store.columns.items() if name != _LABELS]
        where = "in memory" if self.path is None else f"in {self.path!r}"
        return f"CachedFeatures({len(self):,} samples of {shapes} {where})"

    @functools.cached_property
    def features(self) -> Any:
        """All features, `(samples, ...)`; a list if the model has several outputs."""
        return self.rows(slice(None))

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """The labels that came with the samples, if any."""
        known = _LABELS in self._store.columns
        return self._store.read(_LABELS, slice(None)) if known else None

    def rows(self, rows: slice | np.ndarray) -> Any:
        """The features of some of the samples, without reading the others."""
        names = [name for name in self._store.columns if name.startswith("feature_")]
        arrays = [self._store.read(name, rows) for name in names]
        return arrays[0] if len(arrays) == 1 else arrays

    def batches(self, size: int = 1024) -> Iterator[Any]:
        """The features in their order, so many samples at a time."""
        for first in range(0, len(self), size):
            yield self.rows(slice(first, first + size))


@obeys_verbose
def cache_features(
    backbone: keras.Model,
    data: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    dtype: str = "float32",
    engine: str = "auto",
    batch_size: int = 32,
    verbose: Any = "auto",
) -> CachedFeatures:
    """Computes a model's outputs once and keeps them, for probes, search or clustering.

    The model runs as at inference and is not changed. With a path, an interrupted run goes on
    where it stopped, and the same call again reads what is there; features of other weights or
    data are never used.

    Args:
        backbone: Any model; its outputs are the features.
        data: Inputs `(n, ...)` as arrays, or a dict or list of them; or a tf.data pipeline or
            PyDataset of inputs or `(inputs, labels)`.
        path: An HDF5 file, `.h5` or `.hdf5`. By default the features stay in memory.
        dtype: `"float32"`, or `"float16"` for half the size and three digits.
        engine: Who computes them: `"auto"`, `"keras"`, `"graph"`, `"xla"` or `"litert"`.
        batch_size: Samples a step, for arrays.
        verbose: 0 for silence.

    Returns:
        `CachedFeatures`, with `features` and, from a pipeline with labels, `labels`.

    Raises:
        ValueError: If the data do not fit the model, or the file holds something else.
        OSError: If the file cannot be written.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        found = ftk.cache_features(backbone, x_train, "features.h5")
        again = ftk.load_features("features.h5")
        assert np.array_equal(found.features, again.features)
        ```
    """
    arguments.check_model(backbone, "backbone")
    extract.check_engine(engine)
    arguments.check_choice(dtype, "dtype", _DTYPES)
    if path is not None and not os.fspath(path).endswith((".h5", ".hdf5")):
        raise ValueError(f"`path` must end in .h5 or .hdf5. Received: path={os.fspath(path)!r}")
    source = _Source(backbone, data, batch_size)
    split = cut.as_prefix(backbone, source.like)
    prefix = identity.prefix_key(split)
    key = prefix | source.key | {"features": dtype, "engine": "any"}
    store = _existing(path, key, source)
    if store is None or not store.complete:
        progress = Progress(source.rows, verbose, "samples")
        varying = source.lengths is not None
        folder = None if path is None else os.path.dirname(os.fspath(path))
        extractor = Extractor(split, engine, varying=varying, key=prefix, folder=folder)
        store = _fill(store, extractor, key, source, path, dtype, progress)
        say(f"{store.done:,} samples: {memory.size_text(store.nbytes)} of features", verbose)
    return CachedFeatures(store)


def load_features(path: str | os.PathLike[str]) -> CachedFeatures:
    """Opens the features that `cache_features` has written.

    Args:
        path: The HDF5 file.

    Returns:
        `CachedFeatures`; they are read when asked for.

    Raises:
        FileNotFoundError: If there is not such a file.
        ValueError: If it is not such a file, or is unfinished.

    Example:
        ```python
        import finetunekit as ftk

        ftk.cache_features(ftk.load_backbone("pretrained_model.h5"), x_train, "features.h5")
        assert len(ftk.load_features("features.h5")) == len(x_train)
        ```
    """
    store = FeatureStore.open(path)
    if not store.complete:
        done, rows = store.done, store.rows
        store.close()
        raise ValueError(
            f"`path` holds {done:,} of {rows:,} samples: the run that wrote it was interrupted. "
            "The same call of `cache_features` or `fit` again completes it. "
            f"Received: path={os.fspath(path)!r}"
        )
    return CachedFeatures(store)


def clear_cache(path: str | os.PathLike[str] | None = None) -> None:
    """Forgets the features that are kept in memory, or deletes a file of features.

    Args:
        path: A file that `fit(cache=path)` or `cache_features` wrote; what they wrote beside it,
            features of validation samples and a prepared engine, goes too. By default what is kept
            in memory.

    Raises:
        FileNotFoundError: If there is not such a file.
        ValueError: If it is not a file of features; it is left as it is.
        StoreBusy: If another process is writing it.

    Example:
        ```python
        import finetunekit as ftk

        ftk.cache_features(ftk.load_backbone("pretrained_model.h5"), x_train, "features.h5")
        ftk.clear_cache("features.h5")
        ftk.clear_cache()
        ```
    """
    if path is None:
        memory_stores.drop_all()
        prepared_engines.drop_all()
        return
    key = hdf5_table.read_key(path)
    beside = hdf5_table.validation_path(path)
    if beside.exists() and _belongs(beside, Path(path).name):
        beside.unlink()
    engine_file.remove(os.path.dirname(os.fspath(path)), identity.prefix_part(key))
    Path(path).unlink()


def _belongs(path: Path, name: str) -> bool:
    """Whether a fit has written this file beside one of the name."""
    try:
        return hdf5_table.read_key(path).get(hdf5_table.BESIDE) == name
    except ValueError:
        return False


class _Source:
    """Batches of inputs, with labels where there are some, from arrays or a pipeline."""

    def __init__(self, model: keras.Model, data: Any, size: int) -> None:
        self.model, self.size = model, size
        self.lengths: np.ndarray | None = None
        self.is_arrays = inputs.is_array_like(data)
        if self.is_arrays:
            self.data = inputs.read(data, model, "data")
            flat = keras.tree.flatten(self.data)
            outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
            free = any(None in tensor.shape[1:] for tensor in outputs)
            # Features of a length of their own do not stand in one array.
            self.lengths = None if free else lengths.of(model, self.data)
            self.rows, self.key, self.like = len(flat[0]), identity.data_key(flat), self.data
            return
        self.data, self.key = data, {"data": "by content"}
        steps = _length(data)
        first = next(iter(self.raw()))
        self.like = first[0]
        self.rows = steps * len(keras.tree.flatten(first[0])[0])  # Or a few less.

    def raw(self) -> Iterator[tuple[Any, Any]]:
        """Inputs and labels of each batch."""
        if self.is_arrays:
            for first in range(0, self.rows, self.size):
                part: Any = slice(first, first + self.size)
                if self.lengths is not None:
                    part = part, slice(int(self.lengths[part].max()))
                yield keras.tree.map_structure(lambda a, p=part: a[p], self.data), None
            return
        steps = len(self.data) if isinstance(self.data, keras.utils.PyDataset) else 0
        for batch in (self.data[n] for n in range(steps)) if steps else self.data:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            yield x, y

    def batches(self) -> Iterator[tuple[list[np.ndarray], np.ndarray | None]]:
        """The arrays of each batch in the model's order, and its labels."""
        for x, y in self.raw():
            flat = cut.flat_inputs(self.model, x)
            if flat is None:
                raise ValueError(
                    f"`data` must give what {self.model.name!r} takes: one array for each input. "
                    f"Received: batches of {type(x).__name__}"
                )
            arrays = [keras.ops.convert_to_numpy(part) for part in flat]
            yield arrays, None if y is None else np.asarray(keras.ops.convert_to_numpy(y))


def _length(data: Any) -> int:
    count = None
    if isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
    elif callable(getattr(data, "cardinality", None)):
        count = int(data.cardinality())
    if count is None or count < 1:
        raise ValueError(
            "`data` must be arrays, or a pipeline that knows its number of batches: for tf.data "
            "`data.apply(tf.data.experimental.assert_cardinality(batches))`. "
            f"Received: data of type {type(data).__name__}"
        )
    return count


def _existing(path: Any, key: dict[str, str], source: _Source) -> FeatureStore | None:
    """What a file holds already, once it is sure that it is of the same data."""
    if path is None or not Path(path).exists():
        return None
    store = FeatureStore.open(path, key, write=True)
    if source.is_arrays:
        return store
    known, row = store.digest_rows(), 0
    for arrays, _ in source.batches():
        digests = identity.row_digests(arrays)
        for digest in digests[: max(0, store.done - row)]:
            if digest.tobytes() not in known:
                store.close()
                raise hdf5_table.mismatch(path, ["other data"])
        row += len(digests)
    if store.complete and row != store.rows:
        store.close()
        raise hdf5_table.mismatch(path, [f"other data ({store.rows} samples, now {row})"])
    return store


def _fill(
    store: FeatureStore | None,
    extractor: Extractor,
    key: dict[str, str],
    source: _Source,
    path: Any,
    dtype: str,
    progress: Progress,
) -> FeatureStore:
    split, row = extractor.split, 0
    try:
        for arrays, labels in source.batches():
            start, row = row, row + len(arrays[0])
            done = 0 if store is None else store.done
            if row <= done:
                continue
            part = slice(max(0, done - start), None)
            features = extractor([array[part] for array in arrays], source.rows - done)
            values = dict(zip(extract.names_of(split), features, strict=True))
            values |= {} if labels is None else {_LABELS: labels[part]}
            if store is None:
                columns = extract.columns_of(split, features, dtype) | _label_column(labels)
                store = _made(path, columns, source, key)
            digests = None if source.is_arrays else identity.row_digests([a[part] for a in arrays])
            store.append(values, digests)
            progress.told(store.done, extractor)
    except cut.NotConstant as error:
        raise ValueError(
            f"`backbone` does not give the same for the same sample: {error}. "
            f"Received: backbone={split.model.name!r}"
        ) from error
    except BaseException:
        if store is not None:
            store.close()
        raise
    if store is None:
        raise ValueError("`data` gives no batches. Received: data without samples")
    store.finish()
    return store


def _label_column(labels: np.ndarray | None) -> dict[str, Column]:
    if labels is None:
        return {}
    return {_LABELS: Column(tuple(labels.shape[1:]), str(labels.dtype))}


def _made(
    path: Any, columns: dict[str, Column], source: _Source, key: dict[str, str]
) -> FeatureStore:
    options = {"digests": not source.is_arrays}
    if path is None:
        return FeatureStore.in_memory(columns, source.rows, key, **options)
    return FeatureStore.create(path, columns, source.rows, key, **options)
