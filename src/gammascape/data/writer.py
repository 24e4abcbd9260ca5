"""Write prepared data: a folder that appears when it is complete."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gammascape import manifests
from gammascape.data.prepared import DTYPES, FORMAT, Bytes, DataError, Split
from gammascape.layout import whole
from gammascape.manifests.code import DATA_MODULES
from gammascape.manifests.manifest import FILE_NAME

SHARD_BYTES = 128 * 2**20
"""Bytes of images in one file: enough for one read from a network disk, and small compared with memory."""

_OWN = re.compile(r"manifest\.json|(train|test)-\d+\.(images|labels)\.npy|\..*")
"""Names in a prepared folder that may be replaced."""


class _Shard:
    """Rows for one file of images and one of labels; memory is used only as they are filled."""

    def __init__(self, rows: int, shapes: Sequence[tuple[int, ...]], types: Sequence[str]) -> None:
        self.samples = 0
        self.images, self.labels = (
            np.empty((rows, *shape), dtype) for shape, dtype in zip(shapes, types, strict=True)
        )


class Writer:
    """Writer of a prepared folder under a temporary name, moved into place when complete.

    with Writer(folder, "mnist", (1, 28, 28), 10) as writer:
        writer.add("train", images, labels)

    If the block raises an exception, nothing is left behind.

    Raises:
        DataError: if the folder is occupied, or no training samples were added.
    """

    def __init__(
        self,
        folder: Path,
        dataset: str,
        image_shape: tuple[int, ...],
        classes: int,
        *,
        class_names: Sequence[str] | None = None,
        notes: str = "",
        generator: dict[str, Any] | None = None,
        own: dict[str, Any] | None = None,
        rule: str = "prepare_dataset",
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self._folder, self._rule = folder, rule
        self._image_shape, self._classes = tuple(image_shape), classes
        self._rows = max(1, shard_bytes // int(np.prod(image_shape)))
        self._open: dict[Split, _Shard] = {}
        self._shards: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
        self._started = manifests.utc_now()
        self._record: dict[str, Any] = {
            "format": FORMAT,
            "dataset": dataset,
            "image_shape": list(image_shape),
            "classes": classes,
            "class_names": list(class_names) if class_names else None,
            "notes": notes,
            "generator": generator,
            **({"own": own} if own else {}),
        }
        self._dtypes: Sequence[str]
        self._dtypes, targets = (own["dtypes"], own["targets"]) if own else (DTYPES, None)
        self._shapes = self._image_shape, (targets,) if targets else ()
        self._sources: list[manifests.Source] = []

    def __enter__(self) -> Self:
        strange = [path for path in self._folder.glob("*") if not _OWN.fullmatch(path.name)]
        if strange:
            text = f"holds {strange[0].name}, which is no prepared data; write to another folder"
            raise DataError(f"{self._folder}: {text}")
        self._writing = self._write()
        return self._writing.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._writing.__exit__(*error)

    @contextmanager
    def _write(self) -> Iterator[Self]:
        with whole(self._folder) as self._partial:
            # A killed process with the same number may have left one.
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir()
            yield self
            self._finish()

    def source(self, path: Path, sha256: str | None = None) -> None:
        """Record a source file of the data; it is hashed here unless `sha256` is given."""
        digest = sha256 or manifests.sha256_of(path)
        self._sources.append(manifests.Source(path.as_posix(), path.stat().st_size, digest))

    def artifact(self, manifest: Path) -> None:
        """Record other prepared data as a source of these.

        Raises:
            ManifestError: if their manifest is damaged.
        """
        self._sources.append(manifests.source_of(manifest))

    def add(self, split: Split, images: Bytes, labels: NDArray[Any]) -> None:
        """Append images uint8 (n, C, H, W) and integer labels (n,), or samples as `own` says.

        Raises:
            ValueError: if a type, a shape or a label does not fit.
        """
        if images.dtype != self._dtypes[0] or images.shape[1:] != self._image_shape:
            raise ValueError(
                f"images are {images.dtype} {images.shape[1:]}, expected {self._dtypes[0]} "
                f"{self._image_shape}"
            )
        plain = labels.shape == images.shape[:1] and labels.dtype.kind in "iu"
        if not plain and not self._shapes[1]:
            raise ValueError(
                f"labels are {labels.dtype} {labels.shape}, expected integers ({len(images)},)"
            )
        if self._classes and len(labels) and (labels.min() < 0 or labels.max() >= self._classes):
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(f"label {wrong} is outside 0..{self._classes - 1}")
        while len(images):
            shard = self._open.setdefault(split, _Shard(self._rows, self._shapes, self._dtypes))
            count = min(self._rows - shard.samples, len(images))
            rows = slice(shard.samples, shard.samples + count)
            shard.images[rows], shard.labels[rows] = images[:count], labels[:count]
            shard.samples += count
            images, labels = images[count:], labels[count:]
            if shard.samples == self._rows:
                self._close(split)

    def _close(self, split: Split) -> None:
        shard, name = self._open.pop(split), f"{split}-{len(self._shards[split]):04d}"
        entry: dict[str, Any] = {"samples": shard.samples}
        for kind, rows in (("images", shard.images), ("labels", shard.labels)):
            path = self._partial / f"{name}.{kind}.npy"
            with path.open("wb") as file:
                np.save(file, rows[: shard.samples], allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            size = path.stat().st_size
            entry[kind] = {"file": path.name, "bytes": size, "sha256": manifests.sha256_of(path)}
        self._shards[split].append(entry)

    def _finish(self) -> None:
        for split in list(self._open):
            self._close(split)
        if not self._shards["train"]:
            raise DataError(f"{self._folder}: no training samples")
        digest = hashlib.sha256(json.dumps(self._record["image_shape"]).encode())
        outputs = []
        for name, shards in self._shards.items():
            for shard in shards:
                entries = shard["images"], shard["labels"]
                outputs += [
                    manifests.File(one["file"], one["bytes"], one["sha256"]) for one in entries
                ]
                digest.update(f"{name} {' '.join(one['sha256'] for one in entries)}\n".encode())
        manifest = manifests.Manifest(
            kind="data",
            name=self._folder.as_posix(),
            rule=self._rule,
            record={**self._record, "digest": digest.hexdigest(), **self._shards},
            inputs=tuple(self._sources),
            code=manifests.code_state(*DATA_MODULES),
            environment=manifests.environment(("numpy",)),
            started=self._started,
            outputs=tuple(outputs),
            finished=manifests.utc_now(),
        )
        manifests.write_manifest(self._partial / FILE_NAME, manifest)
        # Remove an older preparation first: a folder can replace only an empty one.
        shutil.rmtree(self._folder, ignore_errors=True)
