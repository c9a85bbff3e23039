"""Handles of tfhub.dev and Kaggle, downloaded by tensorflow_hub."""

import re
import warnings
from typing import Any
from urllib.parse import urlsplit

from finetunekit.backbones.handles import cache, download
from finetunekit.foundation.messages import say

_HOSTS = ("tfhub.dev", "www.tfhub.dev", "hub.tensorflow.google.cn")
_KAGGLE = ("kaggle.com", "www.kaggle.com")


def url_of(source: str, name: str) -> str:
    """The URL of a handle; `kaggle://owner/model/...` becomes that on Kaggle's site.

    Raises:
        ValueError: If it is neither a URL of http or https nor a `kaggle://` handle.
    """
    scheme, _, rest = source.partition("://")
    if scheme.lower() in ("http", "https"):
        _check_url(source, name)
        return f"{scheme.lower()}://{rest}"
    if scheme.lower() != "kaggle":
        raise ValueError(
            f"`{name}` must start with 'https://', 'http://' or 'kaggle://' to be a URL. Download "
            f"the archive, and give its path. Received: {name}={source!r}"
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+/tensorflow[12]/[\w.-]+/\d+", rest, re.IGNORECASE):
        raise ValueError(
            f"`{name}` must be 'kaggle://owner/model/tensorFlow2/variation/version' to lead to a "
            f"SavedModel on Kaggle. Received: {name}={source!r}"
        )
    return f"https://www.kaggle.com/models/{rest}"


def _check_url(url: str, name: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # Raises if it is not a number.
        fault = "" if parts.hostname else "it has no host"
    except ValueError as error:
        fault = str(error)
    if fault or not url.isascii() or re.search(r"\s", url):
        raise ValueError(
            f"`{name}` must be a valid URL: {fault or 'spaces and special characters as %20'}. "
            f"Received: {name}={url!r}"
        )


def is_hub(url: str) -> bool:
    """Whether tensorflow_hub has its own way to this URL."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return host in _HOSTS or (host in _KAGGLE and parts.path.startswith("/models/"))


def fetch(url: str, name: str, source: str) -> str:
    """Downloads what a hub's URL means into the cache, and returns the folder.

    Raises:
        ImportError: If tensorflow_hub cannot be imported.
        OSError: If there is no connection, or no such model.
    """
    hub = _tensorflow_hub(name, source)
    say(f"downloading {download.shown(url)} by tensorflow_hub into {cache.folder()}")
    try:
        return str(hub.resolve(url))
    except Exception as error:  # Of urllib, tarfile, zlib or TensorFlow, by what goes wrong.
        kaggle = (
            "On a machine with a connection, `kagglehub.model_download('owner/model/tensorFlow2/"
            "variation')` gives a folder: copy it, and give its path. "
        )
        raise OSError(
            f"`{name}` cannot be downloaded from {urlsplit(url).hostname} "
            f"({type(error).__name__}: {str(error)[:200]}). Check the address, which ends in a "
            f"version. {download.by_hand(cache.url_key(url))} "
            f"{kaggle if urlsplit(url).hostname in _KAGGLE else ''}Received: {name}={source!r}"
        ) from error


def _tensorflow_hub(name: str, source: str) -> Any:
    try:
        with warnings.catch_warnings():
            # tensorflow_hub 0.16 imports pkg_resources, which warns of its own end.
            warnings.simplefilter("ignore")
            import tensorflow_hub
    except ImportError as error:
        raise ImportError(
            f"`{name}` is a handle that needs tensorflow_hub, which cannot be imported ({error}). "
            'Install what it needs: pip install "tensorflow-hub>=0.16.1" tf_keras '
            f'"setuptools<82". Received: {name}={source!r}'
        ) from error
    return tensorflow_hub
