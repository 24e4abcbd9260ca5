"""A user's own data: images in class folders, arrays, a table."""

from pathlib import Path
from typing import Any

import numpy as np

from gammascape.data.prepared import DataError, Split
from gammascape.data.writer import Writer
from gammascape.usercode.files import Part, read, scaled
from gammascape.usercode.find import SourceError


def prepare(source: Path | None, folder: Path, *, options: dict[str, Any]) -> None:
    """Write the samples of a study's dataset: pixels as they are, other inputs float32 and standardized.

    Raises:
        DataError: if a file cannot be used, or has changed since the study was loaded.
    """
    del source
    try:
        data = read(options)
    except (SourceError, OSError) as error:
        raise DataError(str(error)) from None
    if data.content != options["content"]:
        raise DataError("its files have changed since the study was loaded; run snakemake again")
    targets = None if data.classes else data.train.y.shape[1]
    pixels = data.train.x.dtype == np.uint8
    types = "uint8" if pixels else "float32", "float32" if targets else "int32"
    own = {"content": data.content, "dtypes": types, "targets": targets, **data.law}
    kind, shape, names = options["kind"], data.train.x.shape[1:], data.classes
    with Writer(
        folder, kind, shape, len(names), class_names=names, own=own, rule="prepare_own"
    ) as writer:
        parts: tuple[tuple[Split, Part], ...] = (("train", data.train), ("test", data.test))
        for split, part in parts:
            y = scaled(part.y, data.law, "target_") if targets else part.y.astype(np.int32)
            writer.add(split, part.x if pixels else scaled(part.x, data.law), y)
        for path, sha256 in data.files.items():
            writer.source(path, sha256)
