"""A crate that was unpacked: what it was published without is not missing from it."""

from dataclasses import replace
from pathlib import Path

from gammascape.origin.inside import read_object
from gammascape.provenance.chain import Chain, Link
from gammascape.provenance.findings import Finding

METADATA = "ro-crate-metadata.json"
_GONE = " is not there"


def tell_left_out(chain: Chain) -> Chain:
    """The chain, where its folder is a crate with files that the crate does not list called not included."""
    try:
        entities = read_object(chain.root / METADATA)["@graph"]
        listed = {entity["@id"] for entity in entities}
    except (OSError, ValueError, KeyError, TypeError):
        return chain

    def told(link: Link, finding: Finding) -> Finding:
        path = link.path
        if link.manifest is not None and finding.text.endswith(_GONE):
            path = Path(path).with_name(finding.text.removesuffix(_GONE)).as_posix()
        if finding.kind not in ("missing", "source gone") or path in listed:
            return finding
        return Finding("not included", f"{path.rpartition('/')[2]} is not part of this crate")

    links = {
        path: replace(link, findings=tuple(told(link, finding) for finding in link.findings))
        for path, link in chain.links.items()
    }
    return replace(chain, links=links)
