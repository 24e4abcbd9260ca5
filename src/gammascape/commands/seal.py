"""The command `gammascape seal`: one short digest over the cells, tables and figures of a study."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gammascape.manifests import ManifestError
from gammascape.provenance.unpacked import refuse_left_out
from gammascape.study import StudyError
from gammascape.tables.cells import TableError
from gammascape.tables.seal import SealTree, page_of

if TYPE_CHECKING:
    from gammascape.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "seal",
        help="print one short digest over all cells, tables and figures of a study",
        description=f"{__doc__} Print it in a paper: `gammascape audit --seal` holds results against it.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a study, or its file")
    parser.add_argument("--directory", type=Path, help="folder that holds results")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print the seal."""
    name = Path(chosen.study).stem if chosen.study.endswith((".yaml", ".yml")) else chosen.study
    print(seal_of(name, (chosen.directory or Path.cwd()).resolve()))
    return 0


def seal_of(study: str, root: Path) -> str:
    """Compute the seal of a study, and check the files against their manifests.

    Raises:
        StudyError: if the study is not finished, or a file is not the one that was made.
    """
    if not (root / page_of(study)).is_file():
        raise StudyError(
            f"{root / page_of(study)}: no such file; {study} is no finished study here"
        )
    try:
        return SealTree(root, checked=True).of_study(study)
    except (ManifestError, TableError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            refuse_left_out(root, Path(str(error.filename)), "a seal covers")
        raise StudyError(f"{error}; `gammascape audit` says more") from None
