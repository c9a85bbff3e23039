"""Readers of KerasHub presets and Hugging Face folders, with their tokenizers."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from finetunekit.backbones import (
    hub_checks,
    hub_images,
    hub_labels,
    hub_rebuild,
    hub_settings,
    hub_tokenizers,
    hub_weights,
)
from finetunekit.backbones.hub_download import downloaded
from finetunekit.backbones.readers import SourceReader
from finetunekit.foundation.messages import listed, say
from finetunekit.models import metadata
from finetunekit.models.metadata import InputContract
from finetunekit.text.tokenizer import kerashub

_KERASHUB, _HUGGING_FACE = "kerashub:", "hf:"


def is_preset(source: str) -> bool:
    """Whether it names a preset, or is a folder with a config.json."""
    return source.startswith((_KERASHUB, _HUGGING_FACE)) or os.path.isfile(
        os.path.join(source, hub_checks.CONFIG)
    )


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A model as KerasHub makes it, and what its folder said besides."""

    model: keras.Model
    vocabulary: int | None
    converted: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def read(source: str, *, dtype: str | None) -> keras.Model:
    """A backbone of KerasHub with its tokenizer or image settings.

    Where a Hugging Face config asks for what KerasHub's class does not compute, it is a plain
    model of KerasHub's layers that does.

    Raises:
        ImportError: If KerasHub or safetensors is missing.
        ValueError: If the folder is damaged, or of a kind that KerasHub does not read.
        OSError: If it cannot be read, or a preset cannot be downloaded.
    """
    hub = kerashub()
    folder = source if os.path.isdir(source) else None
    try:
        if source.startswith(_HUGGING_FACE):
            folder = downloaded(source.removeprefix(_HUGGING_FACE))
        config = hub_checks.read_config(folder) if folder else {}
        if folder:
            hub_checks.check(folder, config)
        changes = hub_settings.changes(config, source)
        loaded = _load(hub, source, folder, config, changes, dtype)
    except ImportError as error:
        raise ImportError(
            f"`source` needs a package that is missing ({error}). Install it: "
            f"`pip install 'finetunekit[hub]'`. Received: source={source!r}"
        ) from error
    model = loaded.model
    _describe(loaded, source, config)
    preset = folder or source.removeprefix(_KERASHUB)
    hub_images.remember_settings(model, hub, preset, folder)
    hub_tokenizers.remember_tokenizer(model, hub, preset, folder, config)
    return model


def _load(
    hub: Any,
    source: str,
    folder: str | None,
    config: dict[str, Any],
    changes: hub_settings.Changes,
    dtype: str | None,
) -> _Loaded:
    options = hub_settings.options(config) | ({} if dtype is None else {"dtype": dtype})
    try:
        if folder is None:
            preset = source.removeprefix(_KERASHUB)
            prepared = hub_weights.Prepared(folder=preset)
            model = hub.models.Backbone.from_preset(preset, **options)
        else:
            with hub_weights.prepared(folder, config) as prepared:
                model = hub.models.Backbone.from_preset(prepared.folder, **options)
    except ImportError:
        raise
    except Exception as error:  # Of all kinds: what a config lacks, what a download meets.
        if isinstance(error, ValueError) and str(error).startswith("`source` "):
            raise
        raise _unreadable(source, folder, error) from error
    embedding = getattr(model, "token_embedding", None)
    vocabulary = None if embedding is None else int(embedding.input_dim)
    if changes or not prepared.has_pooler:
        model = hub_rebuild.rebuilt(model, changes, has_pooler=prepared.has_pooler)
    return _Loaded(
        model,
        vocabulary,
        tuple(_converted(config, changes, prepared)),
        prepared.unread,
    )


def _converted(
    config: dict[str, Any], changes: hub_settings.Changes, prepared: hub_weights.Prepared
) -> Iterator[str]:
    yield from prepared.converted
    kind = config.get("model_type")
    if changes.activation is not None:
        yield f"activation {changes.activation}, which is not that of KerasHub's {kind}"
    if changes.epsilon is not None:
        yield f"layer_norm_epsilon {changes.epsilon:g}, which is not that of KerasHub's {kind}"
    if not prepared.has_pooler:
        yield "no pooled_output: the files hold no weights of a pooler"


def _unreadable(source: str, folder: str | None, error: Exception) -> Exception:
    lines = str(error).strip().splitlines()
    says = f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
    if folder is None:
        kind = OSError if not isinstance(error, ValueError) else ValueError
        return kind(
            "`source` cannot be downloaded from the hub. Check the name and the connection, or "
            f"pass a downloaded folder. KerasHub says: {says} Received: source={source!r}"
        )
    there = sorted(path.name for path in Path(folder).iterdir())
    if "has no converter" in says:
        fault = "Its model_type is not among those that KerasHub reads."
    elif set(there) & set(hub_weights.KINDS):
        fault = (
            "Its files do not hold what a model of this config.json needs, or are damaged: copy "
            "or download the folder again."
        )
    else:
        fault = f"It lacks the weights, one of {listed(hub_weights.KINDS)}; there are " + (
            f"{listed(there, 8)}."
        )
    return ValueError(
        f"`source` cannot be read as a model of KerasHub or Hugging Face. {fault} "
        f"KerasHub says: {says} Received: source={source!r}"
    )


def _describe(loaded: _Loaded, source: str, config: dict[str, Any]) -> None:
    model, kind = loaded.model, "KerasHub preset"
    if "model_type" in config:
        kind = "Hugging Face folder"
    elif "pretrained_cfg" in config or "architecture" in config:
        kind = "timm folder"
    shown = os.path.basename(os.path.abspath(source)) if os.path.isdir(source) else source
    names = hub_labels.class_names(config)
    dropped = tuple(hub_weights.described(loaded.unread))
    facts = {"converted": loaded.converted, "dropped": dropped, "class_names": names}
    origin = {"source": shown, "format": kind} | {key: row for key, row in facts.items() if row}
    metadata.remember(model, origin=origin)
    if dropped:
        say(hub_labels.line(shown, dropped, names))
    if loaded.vocabulary is not None:
        size = loaded.vocabulary
        contract = InputContract(
            value_range=(0.0, size - 1.0),
            note=f"token ids of 0 to {size - 1:,}",
            dtype="int32",
            vocabulary_size=size,
        )
        metadata.remember(model, contract=contract)


READER = SourceReader(
    kind="a preset or a folder with a config.json",
    accepts=is_preset,
    options=frozenset({"dtype", "reference"}),
    read=lambda source, options: read(source, dtype=options.dtype),
)
