"""CIFAR-10 (Krizhevsky 2009) from its batches, python or binary version, unpacked or in the published archive."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gammascape.data.prepare import sources
from gammascape.data.prepared import Bytes, DataError, Split
from gammascape.data.writer import Writer
from gammascape.manifests import sha256_of

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
BATCHES: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "cifar-10-python.tar")
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
PLACES = (*FOLDERS, "", *(f"*/{name}" for name in FOLDERS))
"""Places searched for the batches, below the user's folder."""

# md5 of the python batches, as checked by torchvision.
PUBLISHED = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_IMAGES = 10_000
_BATCH_BYTES, _ARCHIVE_BYTES = 2**25, 2**28
"""Bounds on a batch (31 MB) and an unpacked archive (186 MB); anything larger is another file."""
# No checksums of the binary batches are published except for their archive. They hold the same images, so these
# are taken from the python batches: sha256 of the sorted sha256 of each label byte with its image, in any order.
PUBLISHED_CONTENT: dict[Split, str] = {
    "train": "55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
    "test": "325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
}
_ROW = 1 + 3 * 32 * 32


def prepare(source: Path | None, folder: Path, *, verify: bool = True) -> None:
    """Write CIFAR-10; `verify` requires the published python batches byte for byte, or binary ones equal to them.

    With `verify`, no pickle is loaded before its md5 is found to be the published one.

    Raises:
        DataError: if a file is missing, damaged, altered, or has a label out of range.
    """
    what = f"{ARCHIVES[0]} or its unpacked batches"
    source = sources.existing_folder(source, "cifar10", what)
    with Writer(folder, "cifar10", SHAPE, 10, class_names=CLASSES) as writer:
        archive = sources.find_source(source, ARCHIVES)
        packed = _members(archive) if archive else {}
        inside = (
            source if archive else sources.find(source, names_of("data_batch_1"), PLACES).parent
        )
        for split, names in BATCHES.items():
            rows: list[bytes] = []
            for name in names:
                if archive:
                    path, content = _member(archive, packed, name)
                else:
                    path = sources.find(inside, names_of(name))
                    content = sources.unpacked_bytes(path, _BATCH_BYTES)
                is_binary = path.name.startswith(f"{name}.bin")
                if verify and not is_binary:
                    sources.check_published(path, content, PUBLISHED[name])
                with sources.naming(path):
                    images, labels = (_parse_binary if is_binary else _parse_python)(content)
                    if verify and len(images) != _IMAGES:
                        raise ValueError(f"holds {len(images)} images, expected {_IMAGES}")
                    writer.add(split, images, labels)
                if is_binary:
                    rows += _row_digests(content)
                if not archive:
                    writer.source(path)
            if verify and rows:
                _check_content(path.parent, split, rows)
        if archive:
            writer.source(archive, sha256_of(archive))


def _row_digests(content: bytes) -> list[bytes]:
    starts = range(0, len(content), _ROW)
    return [hashlib.sha256(content[first : first + _ROW]).digest() for first in starts]


def _check_content(place: Path, split: Split, rows: list[bytes]) -> None:
    """Compare images and labels of a split's binary batches with the published python batches."""
    if hashlib.sha256(b"".join(sorted(rows))).hexdigest() != PUBLISHED_CONTENT[split]:
        files = ", ".join(f"{name}.bin" for name in BATCHES[split])
        raise DataError(
            f"{place}: one of {files} was altered: not the published images and labels; fetch it again"
        )


def names_of(batch: str) -> list[str]:
    """Names under which a batch is found, python version first."""
    return [f"{batch}{packed}" for packed in sources.PACKED] + [f"{batch}.bin"]


def _members(path: Path) -> dict[str, bytes]:
    """Batches in an archive by name, read once from start to end; links and other members are skipped."""
    wanted = {
        batch + ending for names in BATCHES.values() for batch in names for ending in ("", ".bin")
    }
    found: dict[str, bytes] = {}
    with (
        sources.open_packed(path, _ARCHIVE_BYTES) as content,
        sources.damage(path, "archive"),
        tarfile.open(fileobj=content, mode="r|") as archive,  # type: ignore[call-overload]
    ):
        for member in archive:
            name = PurePosixPath(member.name).name
            file = archive.extractfile(member) if member.isreg() and name in wanted else None
            if file is not None and member.size <= _BATCH_BYTES:
                found.setdefault(name, file.read())
    return found


def _member(archive: Path, packed: dict[str, bytes], batch: str) -> tuple[Path, bytes]:
    for name in (batch, f"{batch}.bin"):
        if name in packed:
            return archive / name, packed[name]
    raise DataError(
        f"{archive}: damaged, or not the published archive: no {batch} could be read in it; fetch it again"
    )


def _parse_binary(content: bytes) -> tuple[Bytes, Bytes]:
    if not content or len(content) % _ROW:
        raise ValueError(f"{len(content)} bytes are not a whole number of images of {_ROW} bytes")
    rows = np.frombuffer(content, np.uint8).reshape(-1, _ROW)
    return rows[:, 1:].reshape(-1, *SHAPE), rows[:, 0]


def _parse_python(content: bytes) -> tuple[Bytes, Any]:
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"not a batch of CIFAR-10 ({error})") from error
    if not isinstance(batch, dict) or "data" not in batch or "labels" not in batch:
        raise ValueError("not a batch of CIFAR-10: no data and labels in it")
    data, labels = batch["data"], np.asarray(batch["labels"])
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (_ROW - 1,):
        found = (
            f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        )
        raise ValueError(f"data is {found}, expected uint8 (n, {_ROW - 1})")
    return data.reshape(-1, *SHAPE), labels


class _Unpickler(pickle.Unpickler):
    """Unpickler that loads arrays, lists and strings and refuses all else: a pickle could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy", "dtype"), ("numpy", "ndarray")}:
            return getattr(np, name)
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):
            # Protocol 2 writes bytes as Latin-1 text.
            return lambda text, _: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
