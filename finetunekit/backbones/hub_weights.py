"""Weights of a Hugging Face folder, under the names and in the form that KerasHub asks for."""

import contextlib
import dataclasses
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finetunekit.backbones import checkpoints, hub_checks
from finetunekit.backbones.hub_adaptations import NOTHING, Adaptation, positions, token_dropout
from finetunekit.foundation.messages import listed, plural

SAFETENSORS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_TORCH = "pytorch_model.bin"
_TORCH_INDEX = "pytorch_model.bin.index.json"
_KERAS = "model.weights.h5"
KINDS = (SAFETENSORS, _INDEX, _TORCH, _TORCH_INDEX, _KERAS)
# Keys of the number of layers, and how their tensors begin; what adapters put beside them.
_DEPTH = ("num_hidden_layers", "n_layers", "n_layer")
_LAYER = re.compile(r"(?:encoder\.layer|transformer\.layer|h)\.(\d+)\.")
_BESIDE = re.compile(r"(?:^|\.)(?:lora_|adapter|ia3_|base_layer\.)")
# LayerNormalization as it was called in the first years; not all converters know.
_OLD_NAMES = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Naming:
    """The names of the tensors of one model type.

    Args:
        anchor: The end of the name of a tensor that every such model has once.
        parts: How names begin that KerasHub reads, behind what stands in front of all of them.
        prefix: What its converter wants in front of all names; None if it takes any.
        pooler: Of the pooler, if KerasHub's model has one, the names of kernel and bias.
        adaptation: What to change in tensors and config.
    """

    anchor: str = "embeddings.word_embeddings.weight"
    parts: tuple[str, ...] = ("embeddings.", "encoder.")
    prefix: str | None = None
    pooler: tuple[str, ...] = ()
    adaptation: Adaptation = NOTHING


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A folder as KerasHub reads it.

    Args:
        folder: The folder itself, or a temporary one with what had to be written anew.
        has_pooler: Whether the files hold the weights of the pooler, if the model has one.
        converted: What was changed, in words.
        unread: The names of the tensors that the backbone has no place for.
    """

    folder: str
    has_pooler: bool = True
    converted: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


_IMAGES = Naming(
    anchor="embeddings.patch_embeddings.projection.weight",
    parts=("embeddings.", "encoder.", "layernorm."),
)
_TYPES: Mapping[str, Naming] = {
    "albert": Naming(
        parts=("embeddings.", "encoder.", "pooler."),
        prefix="albert.",
        pooler=("pooler.weight", "pooler.bias"),
    ),
    "bert": Naming(
        parts=("embeddings.", "encoder.", "pooler."),
        pooler=("pooler.dense.weight", "pooler.dense.bias"),
    ),
    "deit": dataclasses.replace(_IMAGES, prefix="deit."),
    "distilbert": Naming(parts=("embeddings.", "transformer."), prefix="distilbert."),
    "esm": Naming(adaptation=token_dropout()),
    "gpt2": Naming(anchor="wte.weight", parts=("wte.", "wpe.", "h.", "ln_f.")),
    "roberta": Naming(prefix="roberta.", adaptation=positions(adds_segment=True)),
    "vit": dataclasses.replace(_IMAGES, prefix="vit."),
    # Its converter adds the token-type embedding itself.
    "xlm-roberta": Naming(adaptation=positions(adds_segment=False)),
}


@contextlib.contextmanager
def prepared(folder: str, config: dict[str, Any]) -> Iterator[Prepared]:
    """A folder with the weights as KerasHub asks for them.

    Raises:
        ValueError: If the weights are damaged, or not those of one model of the type.
    """
    files = _files(Path(folder))
    naming = _TYPES.get(str(config.get("model_type")))
    if not files or (naming is None and files[0].suffix != ".bin"):
        yield Prepared(folder=folder)
        return
    naming = naming or Naming(parts=("",), anchor="")
    pickled = _read(files) if files[0].suffix == ".bin" else None
    names = _names(files) if pickled is None else list(pickled)
    stem = _stem(names, naming, folder)
    lacks = [stem + name for name in naming.pooler if stem + name not in names]
    found = Prepared(
        folder=folder,
        has_pooler=not lacks,
        unread=tuple(name for name in names if not _is_read(name, stem, naming, config)),
    )
    if not (lacks or _must_be_written(names, stem, naming, config, files)):
        yield found
        return
    from safetensors.numpy import save_file

    tensors = _renamed(_read(files) if pickled is None else pickled, stem, naming)
    config = dict(config)
    converted = naming.adaptation.apply(tensors, config, naming.prefix or stem)
    if lacks:
        tensors |= _blank_pooler(naming, naming.prefix or stem, config)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / hub_checks.CONFIG).write_text(json.dumps(config), "utf-8")
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        save_file(arrays, Path(place) / SAFETENSORS)
        yield dataclasses.replace(found, folder=place, converted=tuple(converted))


def described(names: Iterable[str]) -> list[str]:
    """The layers that some tensors belong to, in words."""
    groups: dict[str, int] = {}
    for name in names:
        parts = name.split(".")[:-1]
        # The layer of its own in a task's model, such as `classifier` or `roberta.pooler`.
        group = ".".join(parts[: 2 if len(parts) > 2 else 1]) or name
        groups[group] = groups.get(group, 0) + 1
    return [f"{group} ({plural(count, 'tensor')})" for group, count in groups.items()]


def _files(folder: Path) -> list[Path]:
    """The files of the weights, as KerasHub would choose them, and then those of torch."""
    if (folder / _KERAS).is_file() and not (folder / SAFETENSORS).is_file():
        return []
    for index, whole in ((_INDEX, SAFETENSORS), (_TORCH_INDEX, _TORCH)):
        if (folder / index).is_file():
            shards = hub_checks.read_json(folder / index).get("weight_map")
            if not isinstance(shards, dict) or not all(_is_plain(s) for s in shards.values()):
                raise ValueError(
                    f"`source` has a {index} without a map of file names. Copy or download the "
                    f"folder again. Received: source={str(folder)!r}"
                )
            return [folder / name for name in dict.fromkeys(shards.values())]
        if (folder / whole).is_file():
            return [folder / whole]
    return []


def _is_plain(name: Any) -> bool:
    """Whether it names a file of the folder itself."""
    return isinstance(name, str) and Path(name).name == name


def _names(files: list[Path]) -> list[str]:
    from safetensors import safe_open

    names: list[str] = []
    for file in files:
        with safe_open(file, framework="np") as opened:
            names += opened.keys()
    return names


def _tensor(files: list[Path], name: str) -> np.ndarray | None:
    """One tensor of safetensors files; None if they do not hold it."""
    from safetensors import safe_open

    for file in files:
        with safe_open(file, framework="np") as opened:
            if name in opened.keys():
                return np.asarray(opened.get_tensor(name))
    return None


def _read(files: list[Path]) -> dict[str, np.ndarray]:
    """All tensors; pickles are read so for the names alone, too."""
    found: dict[str, np.ndarray] = {}
    for file in files:
        found |= checkpoints.read(str(file)).arrays
    return found


def _stem(names: list[str], naming: Naming, folder: str) -> str:
    """What stands in front of all names of the model: `bert.` in one with a head, say."""
    ends = [name for name in names if name.endswith(naming.anchor)]
    stems = [name[: len(name) - len(naming.anchor)] for name in ends] if naming.anchor else [""]
    stems = [stem for stem in stems if not stem or stem.endswith(".")]
    if len(stems) == 1:
        return stems[0]
    if stems:
        fault = f"weights of {len(stems)} models, {listed(stems)}; keep those of one"
    else:
        fault = f"no tensor {naming.anchor!r}; its weights hold {listed(names, 4)}"
    raise ValueError(
        f"`source` has {fault}. A folder of one model is expected, as its config.json says. "
        f"Received: source={folder!r}"
    )


def _is_read(name: str, stem: str, naming: Naming, config: dict[str, Any]) -> bool:
    """Whether KerasHub reads it: it is no head's, adapter's, or layer's beyond the config's."""
    if not name.startswith(tuple(stem + part for part in naming.parts)):
        return False
    layer = _LAYER.match(name.removeprefix(stem))
    depth = next((config[key] for key in _DEPTH if type(config.get(key)) is int), None)
    beyond = layer is not None and depth is not None and int(layer[1]) >= depth
    return not beyond and not _BESIDE.search(name.removeprefix(stem))


def _must_be_written(
    names: list[str], stem: str, naming: Naming, config: dict[str, Any], files: list[Path]
) -> bool:
    if files[0].suffix == ".bin" or naming.prefix not in (None, stem):
        return True
    if naming.prefix is not None and any(name.endswith(tuple(_OLD_NAMES)) for name in names):
        return True
    return naming.adaptation.needed(config, lambda name: _tensor(files, stem + name))


def _renamed(tensors: dict[str, np.ndarray], stem: str, naming: Naming) -> dict[str, np.ndarray]:
    """The tensors with the converter's prefix and the names of today."""
    found = {}
    for name, array in tensors.items():
        if naming.prefix is not None and name.startswith(tuple(stem + p for p in naming.parts)):
            name = naming.prefix + name.removeprefix(stem)
        for old, new in _OLD_NAMES.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        found[name] = array
    return found


def _blank_pooler(naming: Naming, prefix: str, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Zeros for the pooler that a converter insists on; it is taken off again."""
    width = int(config["hidden_size"])
    kernel, bias = (prefix + name for name in naming.pooler)
    return {kernel: np.zeros((width, width), "float32"), bias: np.zeros(width, "float32")}
