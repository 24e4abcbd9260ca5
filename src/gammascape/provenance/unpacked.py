"""Unpacked crates: files left out of a crate on purpose do not count as missing."""

from dataclasses import replace
from pathlib import Path

from gammascape.manifests.paths import read_object, short
from gammascape.provenance.chain import Chain, Link
from gammascape.provenance.findings import Finding
from gammascape.study import StudyError

METADATA = "ro-crate-metadata.json"


def refuse_left_out(root: Path, path: Path, what: str) -> None:
    """Refuse to continue in a crate that lacks a file needed by a command.

    Raises:
        StudyError: if `root` is an unpacked crate; `what` says what the file is for.
    """
    if (root / METADATA).is_file():
        raise StudyError(
            f"{root}: a crate without {short(path.name)} of its cells, which {what}; unpack one that was exported "
            "with --data, or call this where snakemake ran"
        )


def tell_left_out(chain: Chain) -> Chain:
    """Report files missing in a crate's folder that the crate does not list as `not included`."""
    try:
        entities = read_object(chain.root / METADATA)["@graph"]
        listed = {entity["@id"] for entity in entities}
    except (OSError, ValueError, KeyError, TypeError):
        return chain

    def relabel(link: Link, finding: Finding) -> Finding:
        path = link.path
        if link.manifest is not None and finding.missing:
            path = Path(path).with_name(finding.missing).as_posix()
        if finding.kind not in ("missing", "source gone") or path in listed:
            return finding
        return Finding("not included", f"{path.rpartition('/')[2]} is not part of this crate")

    links = {
        path: replace(link, findings=tuple(relabel(link, finding) for finding in link.findings))
        for path, link in chain.links.items()
    }
    return replace(chain, links=links)
