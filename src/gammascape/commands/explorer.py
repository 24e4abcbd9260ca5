"""Put the explorers of several studies into one, which shows slices of two studies side by side.

The file works alone, as the explorer of one study does, and carries the marks of all, so that `audit` finds where
it comes from.
"""

import argparse
from pathlib import Path

from gammascape.command import UserError
from gammascape.layout import whole
from gammascape.manifests.mark import read_marks
from gammascape.manifests.paths import RESULTS
from gammascape.provenance.locate import output_of, with_results
from gammascape.study.reading.yaml_reader import study_name


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "studies",
        nargs="+",
        metavar="STUDY",
        help="names of studies that have been run, or their files",
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write: X.html")


def run(chosen: argparse.Namespace) -> int:
    """Write the explorer."""
    from gammascape.figures.explorer.page import joint_explorer

    names = [study_name(one) for one in chosen.studies]
    if len({*names}) < 2:
        raise UserError(f"name two studies or more; one has {RESULTS}/{names[0]}/explorer.html")
    if chosen.out.suffix.lower() != ".html":
        raise UserError(f"{chosen.out}: end the name in .html")
    # An explorer of several studies has several marks; with one mark it is a result.
    if chosen.out.exists() and (chosen.out.is_dir() or len(read_marks(chosen.out)) < 2):
        raise UserError(
            f"{chosen.out} exists and is no explorer of several studies: name another file, or remove it first"
        )
    names = list(dict.fromkeys(with_results(one, "explorer") for one in chosen.studies))
    places = [f"{RESULTS}/{name}/explorer.html" for name in names]
    files = [output_of("page", place, "html")[1] for place in places]
    try:
        page = joint_explorer(files, [mark for file in files for mark in read_marks(file)])
    except ValueError as error:
        raise UserError(f"{error}; run snakemake, which makes it again") from None
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with whole(chosen.out) as partial:
        partial.write_text(page, encoding="utf-8")
    print(f"{chosen.out}: {', '.join(map(str, files))}")
    return 0
