"""Downloads of models from Hugging Face, as folders."""

from pathlib import Path

_SETTINGS = ["*.json", "*.txt", "*.model", "assets/*"]
# In the order in which they are looked for: a repository often has the same weights twice.
_WEIGHTS = (["*.safetensors", "*.weights.h5"], ["pytorch_model*.bin"])


def downloaded(name: str) -> str:
    """The folder of a model of Hugging Face, downloaded unless it is in the cache.

    Args:
        name: Organisation and name, such as `"google/vit-base-patch16-224"`.

    Raises:
        ImportError: If huggingface_hub is missing, which comes with KerasHub.
        ValueError: If it is not the name of a model.
        OSError: If it cannot be downloaded.
    """
    import huggingface_hub

    folder = ""
    try:
        for weights in _WEIGHTS:
            folder = huggingface_hub.snapshot_download(name, allow_patterns=_SETTINGS + weights)
            if any(found for pattern in weights for found in Path(folder).glob(pattern)):
                break
    except Exception as error:  # Of all kinds, by what went wrong on the way.
        kind = ValueError if isinstance(error, ValueError) else OSError
        says = (str(error).strip().splitlines() or [""])[0][:300]
        raise kind(
            "`source` cannot be downloaded from Hugging Face. Check the name and the connection, "
            f"or pass a downloaded folder. It says: {type(error).__name__}: {says} "
            f"Received: source={'hf:' + name!r}"
        ) from error
    return folder
