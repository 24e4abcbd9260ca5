"""Memory and time of preparing one part of CIFAR-5M: python benchmarks/cifar5m_memory.py [--images N] [--packed].

A part of the published layout is made, X uint8 (1000448, 32, 32, 3) and Y (1000448,), of random pixels, as an npz
file that is stored or, with --packed, compressed; the other five parts hold 100 images. A process of its own
prepares them, and its peak of resident memory is printed. Needs 7 GB of disk in --folder, given back at the end.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

IMAGES = 1_000_448
_ROWS = 10_000

CHILD = """
import sys
from pathlib import Path
from gammascape.data.prepare import cifar5m
cifar5m.prepare(Path(sys.argv[1]), Path(sys.argv[2]))
print(Path("/proc/self/status").read_text())
"""


def write_part(path: Path, images: int, packed: bool) -> None:
    """An npz file as numpy would write it, in pieces of bounded size."""
    rng = np.random.default_rng(0)
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        with archive.open("X.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (images, 32, 32, 3)}
            npy.write_array_header_1_0(file, header)
            for first in range(0, images, _ROWS):
                rows = min(_ROWS, images - first)
                # Photographs pack to some two thirds; so do pixels of five random bits.
                file.write(rng.integers(0, 256, (rows, 3072), np.uint8) & 0xF8)
        with archive.open("Y.npy", "w") as file:
            npy.write_array(file, rng.integers(0, 10, images))


def main() -> None:
    """Make the parts, prepare them in a process of its own, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES, help="images in the part")
    parser.add_argument("--packed", action="store_true", help="compress the part")
    parser.add_argument(
        "--folder", help="where to work; the system's temporary folder if not given"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        source, prepared = Path(name) / "source", Path(name) / "prepared"
        source.mkdir()
        for part in range(6):
            images = chosen.images if part == 0 else 100
            write_part(source / f"part{part}.npz", images, chosen.packed)
        size = (source / "part0.npz").stat().st_size
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, source, prepared],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.monotonic() - started
        peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
        if peak is None:
            sys.exit("/proc/self/status names no VmHWM: this benchmark needs Linux")
        print(
            f"part of {chosen.images:,} images, {size / 2**30:.2f} GiB "
            f"{'packed' if chosen.packed else 'stored'}: "
            f"prepared in {seconds:.0f} s, peak of resident memory {int(peak[1]) / 1024:.0f} MiB"
        )


if __name__ == "__main__":
    main()
