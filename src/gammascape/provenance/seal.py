"""Seal of a study, checked against its files."""

from pathlib import Path

from gammascape.manifests import ManifestError
from gammascape.provenance.unpacked import refuse_left_out
from gammascape.study import StudyError
from gammascape.tables.cells import TableError
from gammascape.tables.seal import SealTree, page_of


def seal_of(study: str, root: Path) -> str:
    """Compute the seal of a study, and check the files against their manifests.

    Raises:
        StudyError: if the study is not finished, or a file has changed since it was made.
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
