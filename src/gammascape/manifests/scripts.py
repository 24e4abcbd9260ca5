"""Script in the page of a figure: vl_convert's bundle of Vega, Vega-Lite and Vega-Embed."""

import hashlib

BUNDLES = {
    "1.9.0.post1": {"6.4": "3425bd951a44d478d0505c6b5d1e8d57656b6e9a4da7bfe88a718ce61d76e572"}
}
"""Version of vl-convert-python -> version of Vega-Lite -> sha256 of their script. A test makes it again."""

_BEGIN, _END = b"<script>", b"</script>"


def is_bundle(script: bytes, version: str, vl_version: str) -> bool:
    """Return whether a script is the known bundle of this version."""
    return hashlib.sha256(script).hexdigest() == BUNDLES.get(version, {}).get(vl_version)


def has_other_script(page: bytes, version: str | None) -> bool:
    """Return whether a page's first script differs from its version's bundles; False for an unknown version."""
    _, _, rest = page.partition(_BEGIN)
    script, ended, _ = rest.partition(_END)
    known = BUNDLES.get(str(version), {}).values()
    digest = hashlib.sha256(script).hexdigest() if ended else ""
    return bool(known) and digest not in known
