"""Readers of KerasHub presets and Hugging Face folders, with their tokenizers."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import checkpoints, hub_checks
from finetunekit.backbones.readers import SourceReader
from finetunekit.foundation.messages import listed, warn
from finetunekit.models import metadata
from finetunekit.models.metadata import InputContract
from finetunekit.text import attach, roles
from finetunekit.text.tokenizer import kerashub, tokenizer_of
from finetunekit.text.wordpiece import WordPiece

CONFIG = "config.json"
_PREFIXES = {"kerashub:": "", "hf:": "hf://"}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model.weights.h5")
_BERT_LIKE = ("bert", "distilbert")


def is_preset(source: str) -> bool:
    """Whether it names a preset, or is a folder with a config.json."""
    return source.startswith(tuple(_PREFIXES)) or os.path.isfile(os.path.join(source, CONFIG))


def read(source: str, *, dtype: str | None) -> keras.Model:
    """A backbone of KerasHub, as KerasHub makes it, with its tokenizer or image settings.

    Raises:
        ImportError: If KerasHub or safetensors is missing.
        ValueError: If the folder is damaged or of a kind that KerasHub does not read.
        OSError: If it cannot be read, or a preset cannot be downloaded.
    """
    hub = kerashub()
    folder = source if os.path.isdir(source) else None
    config = hub_checks.read_config(folder) if folder else {}
    if folder:
        hub_checks.check(folder, config)
    preset = source
    for prefix, scheme in _PREFIXES.items():
        preset = scheme + preset.removeprefix(prefix) if preset.startswith(prefix) else preset
    options = {} if dtype is None else {"dtype": dtype}
    try:
        with _as_safetensors(folder) as place:
            model = hub.models.Backbone.from_preset(place or preset, **options)
    except ImportError as error:
        raise ImportError(
            f"`source` needs a package that is missing ({error}). Install it: "
            f"`pip install 'finetunekit[hub]'`. Received: source={source!r}"
        ) from error
    except Exception as error:  # Of all kinds: what a config lacks, what a download meets.
        raise _unreadable(source, folder, error) from error
    _describe(model, source, config)
    _give_image_settings(model, hub, preset)
    _give_tokenizer(model, hub, preset, folder, config)
    return model


@contextlib.contextmanager
def _as_safetensors(folder: str | None) -> Iterator[str | None]:
    """A folder with weights that KerasHub reads: torch's own file is written again for it."""
    weights = Path(folder or "") / "pytorch_model.bin"
    if folder is None or not weights.is_file() or any(Path(folder, n).exists() for n in _WEIGHTS):
        yield None
        return
    from safetensors.numpy import save_file

    with tempfile.TemporaryDirectory() as place:
        shutil.copy(Path(folder) / CONFIG, place)
        save_file(checkpoints.read(str(weights)).arrays, Path(place) / _WEIGHTS[0])
        yield place


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
    return ValueError(
        "`source` cannot be read as a model of KerasHub or Hugging Face. It takes config.json and "
        f"one of {listed(_WEIGHTS)}; there are {listed(there, 8)}. KerasHub says: {says} "
        f"Received: source={source!r}"
    )


def _describe(model: keras.Model, source: str, config: dict[str, Any]) -> None:
    kind = "KerasHub preset"
    if "model_type" in config:
        kind = "Hugging Face folder"
    elif "pretrained_cfg" in config or "architecture" in config:
        kind = "timm folder"
    shown = os.path.basename(os.path.abspath(source)) if os.path.isdir(source) else source
    metadata.remember(model, origin={"source": shown, "format": kind})
    for word in hub_checks.ignored(config):
        warn(f"{shown}: {word}")
    embedding = getattr(model, "token_embedding", None)
    if embedding is not None:
        size = int(embedding.input_dim)
        contract = InputContract(
            value_range=(0.0, size - 1.0),
            note=f"token ids of 0 to {size - 1:,}",
            dtype="int32",
            vocabulary_size=size,
        )
        metadata.remember(model, contract=contract)


def _give_image_settings(model: keras.Model, hub: Any, preset: str) -> None:
    """Records how images are scaled for the weights, if a preset says so."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return
    try:
        found = hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # There may be none; the model is of use without it.
        warn(f"the input contract of {model.name!r} is unknown ({type(error).__name__})")
        return
    scale = np.broadcast_to(np.asarray(1.0 if found.scale is None else found.scale), 3)
    offset = np.broadcast_to(np.asarray(0.0 if found.offset is None else found.offset), 3)
    mean, std = (tuple(map(float, row.ravel())) for row in (-offset / scale, 1 / scale))
    ends = np.concatenate([offset, 255 * scale + offset])
    told = [[round(value, 3) for value in row] for row in (mean, std)]
    contract = InputContract(
        value_range=(float(ends.min()), float(ends.max())),
        size=tuple(found.image_size) if found.image_size else None,
        preprocessing="outside",
        note=f"RGB pixels that you normalise, (pixels - mean) / std, mean {told[0]}, std {told[1]}",
        dtype="float32",
        mean=mean,
        std=std,
    )
    metadata.remember(model, contract=contract)


def _give_tokenizer(
    model: keras.Model, hub: Any, preset: str, folder: str | None, config: dict[str, Any]
) -> None:
    if roles.of(model) is None:
        return
    encoder = None
    if folder and config.get("model_type") in _BERT_LIKE:
        encoder = _bert_tokenizer(Path(folder))
    if encoder is None:
        try:
            encoder = hub.models.Tokenizer.from_preset(preset)
        except Exception as error:  # There may be none; the model is of use without it.
            warn(
                f"no tokenizer was found for {model.name!r} ({type(error).__name__}): it takes "
                "token ids, or texts after `ftk.use_tokenizer(model, ...)`"
            )
            return
    tokenizer = tokenizer_of(
        encoder, causal=roles.is_causal(model), max_length=roles.longest(model)
    )
    attach.remember(model, tokenizer)


def _bert_tokenizer(folder: Path) -> WordPiece | None:
    """BERT's tokenizer as Hugging Face has it: accents go with the case unless it says so.

    KerasHub reads the same files and keeps the accents, so that words with one are unknown.
    """
    vocabulary = folder / "vocab.txt"
    if not vocabulary.is_file():
        return None
    path = folder / "tokenizer_config.json"
    settings = hub_checks.read_json(path) if path.is_file() else {}
    return WordPiece.from_file(
        vocabulary,
        name="source",
        lowercase=bool(settings.get("do_lower_case", True)),
        strip_accents=settings.get("strip_accents"),
        split_chinese=bool(settings.get("tokenize_chinese_chars", True)),
    )


READER = SourceReader(
    kind="a preset or a folder with a config.json",
    accepts=is_preset,
    options=frozenset({"dtype", "reference"}),
    read=lambda source, options: read(source, dtype=options.dtype),
)
