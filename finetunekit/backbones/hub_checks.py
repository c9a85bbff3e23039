"""Checks of a model folder's config.json, before KerasHub reads it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from finetunekit.foundation import contents
from finetunekit.models import file_configs
from finetunekit.text.tokenizer import HELD_IN_FILES

CONFIG = "config.json"
_LARGEST_JSON = 64 * 2**20
_LARGEST_CONFIG = 2**20
# Names of sizes in configs of Hugging Face: how many tokens, positions, layers, how wide.
_WIDTH = ("hidden_size", "n_embd", "dim", "d_model", "embed_dim")
_TOKENS = ("vocab_size", "max_position_embeddings", "n_positions", "type_vocab_size")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
_INNER = ("intermediate_size", "n_inner", "hidden_dim", "encoder_ffn_dim")
# Modules whose classes a preset of KerasHub is made of.
_HARMLESS = ("keras", "keras_hub", "builtins", "keras_nlp")


def read_json(path: Path, largest: int = _LARGEST_JSON) -> dict[str, Any]:
    """A JSON object out of a file of bounded size.

    Raises:
        ValueError: If it is none.
    """
    fault = ""
    found = None
    if path.stat().st_size > largest:
        fault = f"is larger than {largest / 2**20:g} MiB"
    else:
        try:
            found = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            fault = f"is not JSON ({type(error).__name__})"
    if not fault and not isinstance(found, dict):
        fault = "holds no JSON object"
    if fault:
        raise ValueError(
            f"`source` has a {path.name} that {fault}. Copy or download the folder again. "
            f"Received: source={str(path.parent)!r}"
        )
    return cast(dict[str, Any], found)


def read_config(folder: str) -> dict[str, Any]:
    """The folder's config.json.

    Raises:
        ValueError: If it is damaged.
    """
    return read_json(Path(folder) / CONFIG, _LARGEST_CONFIG)


def check(folder: str, config: dict[str, Any]) -> None:
    """Raises for a config that asks for foreign code, or for more than the weights hold.

    Raises:
        ValueError: With what it asks for.
    """
    for module, name in _classes(config):
        if module.split(".")[0] not in _HARMLESS or name == "Lambda":
            raise ValueError(
                f"`source` has a config.json that asks for {module}.{name}, which is no part of "
                "KerasHub; none of it was run. Load such a model with its own code and pass "
                f"the model. Received: source={folder!r}"
            )
    for path in sorted(Path(folder).glob("*.json")):
        _check_files(folder, path)
    for path in _weights(Path(folder)):
        if fault := contents.mistaken(str(path)):
            raise ValueError(
                f"`source` has a {path.name} that {fault}. Received: source={folder!r}"
            )
    asked, held = _asked(config), _held(Path(folder))
    if held is not None and asked > max(4 * held, 2**22):
        raise ValueError(
            f"`source` has a config.json that asks for about {asked:,} numbers, and its weights "
            f"hold {held:,}. One of the files is of another model. Received: source={folder!r}"
        )


def _check_files(folder: str, path: Path) -> None:
    """Raises for a config that has KerasHub read a file of its own choice."""
    if path.stat().st_size > _LARGEST_JSON:
        return
    text = path.read_bytes()
    if b'"class_name"' not in text:
        return  # Not one of KerasHub's own, and may be large.
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return  # Who needs it says so.
    for entry in file_configs.objects(found):
        config = entry["config"] if isinstance(entry["config"], dict) else {}
        for key in HELD_IN_FILES:
            if isinstance(config.get(key), str):
                raise ValueError(
                    f"`source` has a {path.name} that asks for another file as its {key}, "
                    f"{config[key]!r}, which is not read, since any file of yours could stand "
                    f"there. Get the folder from its maker again. Received: source={folder!r}"
                )


def _classes(config: Any) -> Iterator[tuple[str, str]]:
    if isinstance(config, dict):
        if "class_name" in config and isinstance(config.get("module"), str):
            yield config["module"], str(config["class_name"])
        for value in config.values():
            yield from _classes(value)
    elif isinstance(config, list):
        for value in config:
            yield from _classes(value)


def _asked(config: dict[str, Any]) -> int:
    """The approximate minimum number of parameters of a model of these sizes."""

    def size(names: tuple[str, ...]) -> int:
        found = [config[n] for n in names if isinstance(config.get(n), int)]
        return max([0, *found])

    width = size(_WIDTH)
    tokens = sum(config[n] for n in _TOKENS if isinstance(config.get(n), int))
    return tokens * width + size(_LAYERS) * width * (width + size(_INNER))


def _held(folder: Path) -> int | None:
    """The most parameters that the weights can hold, at two bytes each; None if unknown."""
    files = _weights(folder)
    return sum(file.stat().st_size for file in files) // 2 if files else None


def _weights(folder: Path) -> list[Path]:
    return [file for ending in ("safetensors", "bin", "h5") for file in folder.glob(f"*.{ending}")]
