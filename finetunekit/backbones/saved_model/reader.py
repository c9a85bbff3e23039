"""Reader of SavedModels: folders, archives, URLs of archives, and handles of hubs."""

import os
import re
from urllib.parse import urlsplit

import keras

from finetunekit.backbones import handles, report, saved_model
from finetunekit.backbones.handles import download
from finetunekit.backbones.readers import LoadOptions, SourceReader
from finetunekit.foundation import arguments


def read(source: str, options: LoadOptions) -> keras.Model:
    """A new model around the SavedModel, with where it came from.

    Raises:
        ValueError: If it is damaged, refused in safe mode, or cannot be called.
        OSError: If it is not there, or cannot be downloaded.
    """
    found = handles.resolve(source, "source")
    with arguments.renamed("path", "source", {found.folder: source}):
        model = saved_model.read(
            found.folder,
            safe_mode=options.safe_mode,
            signature=options.signature,
            name=_short_name(source),
        )
    shown = download.shown(source) if "://" in source else os.path.basename(source.rstrip("/"))
    report.note(model, source=shown, format="SavedModel")
    if found.sha256:
        report.note(model, sha256=found.sha256)
    return model


def _short_name(source: str) -> str:
    """What to call the model of a SavedModel: the last part of its handle, numbers with a word."""
    parts = [part for part in urlsplit(source).path.rstrip("/").split("/") if part]
    parts = parts or [os.path.basename(os.path.abspath(source))]
    name = "_".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])
    return re.sub(r"(\.tar\.gz|\.tgz|\.tar)$", "", name, flags=re.IGNORECASE)


READER = SourceReader(
    kind="a SavedModel",
    accepts=lambda source: handles.is_handle(source) or os.path.isdir(source),
    options=frozenset({"safe_mode", "signature", "reference"}),
    read=read,
)
