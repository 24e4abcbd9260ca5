"""`python -m gammascape.data.prepare DATASET --source FOLDER --output FOLDER`, the command of the rules."""

import argparse
import json
from pathlib import Path
from typing import Any

from gammascape.command import as_command, leave
from gammascape.data.prepare import PREPARERS, mnist1m
from gammascape.data.prepare.download import DOWNLOADS, download
from gammascape.data.prepared import DataError
from gammascape.terminal import complain


@as_command
def main(arguments: list[str] | None = None) -> int:
    """Prepare one dataset and return the exit status."""
    parser = argparse.ArgumentParser(prog="gammascape.data.prepare", description=__doc__)
    parser.add_argument("dataset", choices=sorted(PREPARERS))
    parser.add_argument("--source", type=Path, help="folder with the published files")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--mnist", type=Path, help="manifest of prepared MNIST, for mnist1m")
    parser.add_argument("--chunks", type=int, default=mnist1m.CHUNKS, help="number, for mnist1m")
    parser.add_argument("--pixels", type=float, nargs=2, help="black and white, for mnist1m")
    parser.add_argument(
        "--generator", type=json.loads, help="JSON: how the chunks were generated, for mnist1m"
    )
    parser.add_argument(
        "--download", action="store_true", help="fetch published files that are not in --source"
    )
    parser.add_argument("--options", type=json.loads, help="JSON: a study's own data")
    chosen = parser.parse_args(arguments)
    options: dict[str, Any] = {}
    if chosen.dataset == "mnist1m":
        if chosen.mnist is None:
            parser.error(
                "mnist1m needs --mnist, the manifest of prepared MNIST, for its test images"
            )
        names = ("mnist", "chunks", "generator", "pixels")
        options = {name: getattr(chosen, name) for name in names}
    if chosen.options is not None:
        options = {"options": chosen.options}
    try:
        if chosen.download and chosen.source is not None and chosen.dataset in DOWNLOADS:
            download(chosen.dataset, chosen.source)
        PREPARERS[chosen.dataset](chosen.source, chosen.output, **options)
    except DataError as error:
        complain(error)
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
