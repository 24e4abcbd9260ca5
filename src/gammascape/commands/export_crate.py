"""Write a study as a Workflow Run RO-Crate, for publication.

The tables and figures of the study, the workflow that made them, and the manifests of all cells become a crate of
profile Provenance Run Crate 0.5: a folder, or a zip file if the name ends in .zip.
"""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

from gammascape.commands import add_shared
from gammascape.layout import whole
from gammascape.manifests import ManifestError
from gammascape.provenance.locate import with_results
from gammascape.provenance.project import open_project
from gammascape.study import StudyError
from gammascape.terminal import say

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("output", type=Path, help="new folder, or file that ends in .zip")
    parser.add_argument(
        "--data",
        action="store_true",
        help="include summary.json and arrays.npz of each cell, and your own modules",
    )
    parser.add_argument("--license", metavar="URL", help="license of the results")
    add_shared(parser, "--study")


def run(chosen: argparse.Namespace) -> int:
    """Write the crate."""
    from gammascape.provenance.crate import build_crate

    plan = open_project(chosen.study)
    if len(plan.studies) != 1:
        raise StudyError("export-crate: a crate holds one study; name it with --study")
    (study,) = plan.studies.values()
    output: Path = chosen.output
    if output.exists():
        raise StudyError(f"{output}: exists already; name a new folder or file")
    for table in ("cells", "scaling"):
        with_results(str(study.path), f"tables/{table}")
    try:
        crate = build_crate(
            study,
            Path.cwd(),
            with_cells=chosen.data,
            hides_host=not plan.config.record_host,
            license_url=chosen.license,
        )
    except ManifestError as error:
        raise StudyError(str(error)) from None
    if output.suffix == ".zip":
        _write_zip(crate, output)
    else:
        with whole(output) as partial:
            crate.write(partial)
    say(f"{output}: {len(crate.get_entities()):,} entities")
    return 0


def _write_zip(crate: "ROCrate", output: Path) -> None:
    # The crate's own writer of zip files does not handle an error in the middle, as on a full disk.
    stage = output.with_name(f".{output.name}.stage")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        crate.write(stage)
        with (
            whole(output) as partial,
            ZipFile(partial, "w", ZIP_DEFLATED, strict_timestamps=False) as archive,
        ):
            for path in sorted(path for path in stage.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(stage))
    finally:
        shutil.rmtree(stage, ignore_errors=True)
