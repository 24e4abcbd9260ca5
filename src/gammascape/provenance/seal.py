"""Seal of a study, checked against its files."""

from pathlib import Path

from gammascape.manifests import ManifestError
from gammascape.provenance.locate import with_results
from gammascape.provenance.unpacked import refuse_left_out
from gammascape.study import StudyError
from gammascape.tables.cells import TableError
from gammascape.tables.seal import PAGE, SealTree


def seal_of(study: str, root: Path) -> str:
    """Compute the seal of a study, given by its name or its file, and check the files against their manifests.

    Raises:
        StudyError: if the study is not finished, or a file has changed since it was made.
    """
    name = with_results(study, PAGE, root)
    try:
        return SealTree(root, checked=True).of_study(name)
    except (ManifestError, TableError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            refuse_left_out(root, Path(str(error.filename)), "a seal covers")
        raise StudyError(f"{error}; `gammascape audit` says more") from None
