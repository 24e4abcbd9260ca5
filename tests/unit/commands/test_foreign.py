"""Manifests, marks and files that somebody else wrote: what they name is not followed, what they hold is text."""

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import gammascape
from gammascape.cli import main
from gammascape.commands.audit import audit_all
from gammascape.commands.plan import text
from gammascape.manifests import Manifest, ManifestError, read_manifest, sha256_of
from gammascape.manifests.mark import mark_svg, read_mark
from gammascape.manifests.paths import OutsideError, inside, inside_project, read_object
from gammascape.provenance.current import Results
from gammascape.provenance.next_run import next_run
from gammascape.provenance.project import open_project
from gammascape.tables.cells import TableError, open_arrays, read_json
from gammascape.terminal import visible

from ..falsify import FIGURE, errors, rewrite
from ..project import ROOT

ACTING = "a\x1b[2Jb\nresults/tiny  verified\u202e\x9b\x7f\u2028"
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    2**62,
    "",
    ".",
    "../../x",
    "1e999999",
    ACTING,
    "x" * 5000,
    [],
    [[1]],
    {},
    {"a": 1},
)
EDGES = "results/tiny/figures/edges"
SCHEMA = json.loads((ROOT / "docs/manifest.schema.json").read_text())


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key at every depth, and the first item of every list."""
    keys = value if isinstance(value, dict) else range(min(len(value), 1))
    for key in keys:
        yield (*at, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*at, key))


def put(content: dict[str, Any], at: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = part = json.loads(json.dumps(content))
    for key in at[:-1]:
        part = part[key]
    part[at[-1]] = value
    return dict(changed)


def one_of_each_kind(*roots: Path) -> dict[str, Path]:
    paths = [path for root in roots for path in sorted(root.rglob("results/**/*manifest.json"))]
    return {json.loads(path.read_text())["kind"]: path for path in paths}


def is_read(content: dict[str, Any]) -> bool:
    with contextlib.suppress(ValueError):
        return bool(Manifest.from_json(content))
    return False


def test_an_odd_value_in_any_key_is_refused_or_of_the_type_that_the_schema_says(
    finished: Path, made: Path
) -> None:
    check = jsonschema.Draft202012Validator(SCHEMA)
    # What a reader need not know to work with a manifest: these the schema bounds, and nothing else does.
    bounds = {"minimum", "enum", "minLength", "pattern", "additionalProperties", "uniqueItems"}
    kinds = one_of_each_kind(finished, made)
    assert set(kinds) == {"cell", "data", "table", "figure", "page"}
    for path in kinds.values():
        content = json.loads(path.read_text())
        for at in places(content):
            for value in ODD:
                if is_read(changed := put(content, at, value)) and at[0] not in (
                    "record",
                    "device",
                ):
                    wrong = [
                        leaf.validator
                        for error in check.iter_errors(changed)
                        for leaf in error.context or [error]
                    ]
                    assert set(wrong) <= bounds, (at, value, wrong)


def test_what_the_schema_allows_is_read(finished: Path) -> None:
    check = jsonschema.Draft202012Validator(SCHEMA)
    content = json.loads(one_of_each_kind(finished)["cell"].read_text())
    content["accepted"] = [{"at": content["started"], "reason": "r", "source_sha256": "0" * 64}]
    for at in places(content):
        if at[:2] != ("code", "modules"):
            for value in (None, True, 0, 1.5, "x", {}, []):
                changed = put(content, at, value)
                assert is_read(changed) or not check.is_valid(changed), (at, value)


@pytest.mark.parametrize("value", [ACTING, "../../x", {"a": [None]}, -1])
def test_no_command_ends_in_a_traceback_where_every_free_value_is_odd(
    project: Path, capsys: pytest.CaptureFixture[str], value: Any
) -> None:
    for path in (*one_of_each_kind(project).values(), Path(f"{EDGES}.manifest.json")):
        content = json.loads(path.read_text())
        for at in places(content):
            with contextlib.suppress(KeyError, IndexError, TypeError):
                if is_read(changed := put(content, at, value)):
                    content = changed
        path.write_text(json.dumps(content))
        assert main(["why", str(path)]) in (0, 2)
    assert main(["audit", "--all"]) == 1
    assert main(["prune"]) == 0
    assert main(["export-crate", "crate"]) in (0, 2)
    print(text(open_project(), next_run(open_project(), [])))
    said = "".join(capsys.readouterr())
    assert not {letter for letter in said if visible(letter) != letter and letter != "\n"}
    assert not [line for line in said.splitlines() if line.startswith("results/tiny  verified")]
    with contextlib.suppress(TableError):
        gammascape.load().collect()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1' + b"0" * 400 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 100_000,
        b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}",
        b'{"a": 1}' + b" " * 100,
    ],
)
def test_json_that_cannot_be_trusted_is_refused_in_one_line(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_object(path, most_bytes=max(100, len(raw) - 20))
    with pytest.raises(ManifestError, match=r"^[^\n]+$"):
        read_manifest(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file, and beside it one that is nobody's business."""
    inner = tmp_path / "project/tables"
    inner.mkdir(parents=True)
    (inner / "file").write_text("mine")
    (inner / "sub").mkdir()
    (tmp_path / "secret").write_text("secret")
    os.mkfifo(inner / "fifo")
    for name, target in {
        "out": "../../secret",
        "loop": "loop",
        "up": "..",
        "null": "/dev/null",
        "near": "file",
        "gone": "nothing",
    }.items():
        (inner / name).symlink_to(target)
    return inner


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../../secret", "/dev/zero", "./file", "sub/../file", "file/", "sub"),
        *("fifo", "out", "loop", "null", "gone", "a\nb", "a\0b", "x" * 100_000),
    ],
)
def test_a_name_that_leads_elsewhere_is_not_followed(folder: Path, name: str) -> None:
    for find in (inside, inside_project):
        with pytest.raises(OSError):  # noqa: PT011 (whichever it is)
            find(folder, name)


def test_links_may_stay_inside_and_the_folder_may_be_behind_one(
    folder: Path, tmp_path: Path
) -> None:
    assert inside(folder, "near").read_text() == "mine"
    (tmp_path / "link").symlink_to(folder)
    assert inside(tmp_path / "link", "file").read_text() == "mine"
    (tmp_path / "results").symlink_to(folder)
    assert inside_project(tmp_path, "results/file").read_text() == "mine"
    (folder / "cells").symlink_to(folder.parent)
    assert inside_project(tmp_path, "results/cells/tables/file").read_text() == "mine"
    with pytest.raises(OutsideError):
        inside_project(tmp_path, "results/out")


FOREIGN = "results/theirs/tables/scaling"


def foreign(name: str, *, inputs: bool = False) -> Path:
    """A table's manifest among the results that names one file."""
    path = Path(f"{FOREIGN}.manifest.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(Path("results/tiny/tables/scaling.manifest.json").read_text())
    file = {"path": name, "bytes": 0, "sha256": "0" * 64}
    content |= {"name": FOREIGN, "inputs": [file] if inputs else []}
    content["record"]["wildcards"]["study"] = "theirs"
    content["outputs"] = [{**file, "path": "scaling.parquet"}] if inputs else [file]
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("inputs", [False, True])
def test_audit_reads_no_file_outside(project: Path, inputs: bool) -> None:
    os.mkfifo("fifo")
    Path("results/theirs/tables").mkdir(parents=True)
    os.mkfifo("results/theirs/tables/fifo")
    for name in ("/dev/zero", "fifo", "../../../../secret"):
        foreign(name, inputs=inputs)
        found = errors(audit_all(project))
        assert "outside" in {kind for _, kind in found}


def test_prune_moves_nothing_from_elsewhere(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thesis = project.parent / "thesis.txt"
    for name in ("../../../../thesis.txt", str(thesis)):
        thesis.write_text("my thesis")
        manifest = foreign(name)
        assert main(["prune", "--yes"]) == 0
        assert "stays where it is: " in capsys.readouterr().out
        assert thesis.read_text() == "my thesis"
        assert not manifest.exists()


def test_prune_moves_no_file_of_another_artifact(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    above = Path("results/theirs.manifest.json")
    foreign("tiny/tables/cells.parquet").rename(above)
    assert main(["prune", "--yes"]) == 0
    assert "cells.parquet is no file of results/theirs" in capsys.readouterr().out
    assert Path("results/tiny/tables/cells.parquet").is_file()
    assert not above.exists()


def test_manifests_that_do_not_end_stop_no_command(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("results/tiny/tables/scaling.manifest.json")
    own = {"path": path.as_posix(), "seal": "0" * 64, "content": "0" * 64}
    rewrite(path, lambda m: m["inputs"].append(own))
    said = {"seal tiny": "manifests name each other", "export-crate crate": "made from itself"}
    for command, words in said.items():
        assert main(command.split()) == 2
        assert words in capsys.readouterr().err
    assert main(["audit", "--all", "--seal", "abc"]) == 1
    path.write_text("[" * 100_000)
    assert "damaged" in Results(open_project()).differing[str(path)]
    path.unlink()
    os.mkfifo(path)
    assert "damaged" in Results(open_project()).differing[str(path)]
    with pytest.raises(OSError, match="not a regular file"):
        sha256_of(path)


@pytest.mark.parametrize("name", ["../id_rsa", "../../notes.txt", "/etc/hostname"])
def test_a_crate_holds_nothing_from_elsewhere(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("../id_rsa").write_text("secret")
    source = {"path": name, "bytes": 7, "sha256": "0" * 64}
    cell = min(map(str, Path("results/cells").rglob("manifest.json")))
    for manifest in ("results/tiny/tables/scaling.manifest.json", cell):
        before = Path(manifest).read_bytes()
        rewrite(Path(manifest), lambda m: m["inputs"].append(source))
        assert main(["export-crate", "out/crate"]) == 2
        assert capsys.readouterr().err.startswith(f"{manifest}: {name} is not in the project")
        assert not Path("out/crate").exists()
        Path(manifest).write_bytes(before)


def test_a_crate_states_no_hash_that_a_file_does_not_have(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path("results/tiny/tables/scaling.parquet")
    table.write_bytes(table.read_bytes() + b"\n")
    assert main(["export-crate", "crate"]) == 2
    assert capsys.readouterr().err.startswith(f"{table}: it is not the file that its manifest")


def test_a_crate_names_the_machine_only_where_the_configuration_does(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("config/config.yaml").open("a") as config:
        config.write("record_host: false\n")
    assert main(["export-crate", "crate"]) == 2
    assert "record_host" in capsys.readouterr().err


def test_a_mark_leads_only_among_the_results(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(root / f"{FIGURE}.manifest.json", tmp_path / "secret.manifest.json")
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>'
    for name in (str(tmp_path / "secret.manifest.json"), "results/../secret.manifest.json", ""):
        copy = tmp_path / "copy.svg"
        copy.write_text(mark_svg(svg, {"manifest": name, "claim": "0" * 64}))
        assert main(["audit", str(copy)]) == 1
        assert "which is no place among the results" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["[]", '{"usermeta": []}', '{"usermeta": {"gammascape": 1}}'])
def test_a_mark_that_is_none_is_no_error(tmp_path: Path, content: str) -> None:
    for name, text_of in {
        "f.json": content,
        "f.svg": f"<metadata>{content}</metadata>",
        # In the square of its length this would take minutes.
        "g.svg": "<metadata>{" * 200_000,
        "h.json": "[" * 100_000,
    }.items():
        (tmp_path / name).write_text(text_of)
        assert read_mark(tmp_path / name) is None


@pytest.mark.parametrize("name", ["results", "results/cells"])
def test_results_may_lie_behind_a_link(root: Path, tmp_path: Path, name: str) -> None:
    before = audit_all(root)
    shutil.move(root / name, tmp_path / "disk")
    (root / name).symlink_to(tmp_path / "disk")
    after = audit_all(root)
    assert errors(after) == []
    assert set(after.links) == set(before.links)
    assert main(["audit", str(root / f"{FIGURE}.svg")]) == 0
    if name == "results":
        assert (
            main(["audit", str(tmp_path / "disk/tiny/figures/edges.svg"), "--directory", str(root)])
            == 0
        )


def test_what_lies_behind_another_link_is_seen(root: Path, tmp_path: Path) -> None:
    tables = root / "results/tiny/tables"
    shutil.move(tables, tmp_path / "tables")
    tables.symlink_to(tmp_path / "tables")
    (root / "results/tiny/loop").symlink_to("..")
    found = set(errors(audit_all(root)))
    assert ("results/tiny/tables/scaling", "outside") in found
    assert {
        ("results/tiny/tables", "unknown origin"),
        ("results/tiny/loop", "unknown origin"),
    } <= found


def test_a_text_cannot_erase_what_a_report_says(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"at": "2026-11-25", "reason": ACTING, "source_sha256": "0" * 64}
    rewrite(Path(f"{EDGES}.manifest.json"), lambda m: m.update(accepted=[entry]))
    cell = next(Path("results/cells").glob("*/*"))
    with (cell / "summary.json").open("a") as file:
        file.write(" ")
    assert main(["audit", f"{EDGES}.svg"]) == 1
    said = capsys.readouterr().out
    assert r"a\x1b[2Jb\nresults/tiny  verified\u202e\x9b\x7f\u2028" in said
    assert cell.name in said
    assert main(["audit", f"{EDGES}.svg", "--json"]) == 1
    said = capsys.readouterr().out
    assert visible(said.replace("\n", "")) == said.replace("\n", "")
    texts = [finding["text"] for finding in json.loads(said)[0]["findings"]]
    assert f"accepted at 2026-11-25: {ACTING}" in texts


def test_replay_does_not_train_over_results(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (root.parent / "mine").mkdir()
    (root.parent / "mine/notes").touch()
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")}
    for scratch in (".", str(root), "results", "results/new", "..", "../mine"):
        assert main(["replay", f"{FIGURE}.svg", "--cells", "1", "--scratch", scratch]) == 2
        assert "holds results" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")} == before


def test_arrays_and_summaries_of_somebody_else_are_one_message(project: Path) -> None:
    folder = next(Path("results/cells").glob("*/*")).resolve()
    whole = (folder / "arrays.npz").read_bytes()
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("loss.npy", b"\0" * 1_000_000)
    np.save(folder / "plain.npy", np.zeros(2))
    for raw in (
        whole[:-30],
        b"",
        (folder / "bomb.npz").read_bytes(),
        (folder / "plain.npy").read_bytes(),
    ):
        (folder / "arrays.npz").write_bytes(raw)
        with pytest.raises(TableError, match=r"^[^\n]*arrays.npz: damaged"), open_arrays(folder):
            pass
    summary = folder / "summary.json"
    content = json.loads(summary.read_text())
    for at in (("cell", "gamma"), ("facts",), ("evaluations",), ("peak_step",), ("data",)):
        for value in (None, "x", [], {}, 10**400):
            summary.write_text(json.dumps(put(content, at, value)))
            with contextlib.suppress(TableError):
                gammascape.load().collect()
    summary.unlink()
    os.mkfifo(summary)
    with pytest.raises(TableError, match="not a regular file"):
        read_json(summary)


def test_prune_moves_no_folder_that_a_link_leads_to(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = project.parent / "home"
    (home / "photos").mkdir(parents=True)
    Path("results/cells/mine").symlink_to(home)
    assert main(["prune", "--yes"]) == 0
    assert "every artifact is asked for" in capsys.readouterr().out
    assert (home / "photos").is_dir()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,3,}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    ],
)
def test_an_array_whose_header_is_forged_is_damaged(tmp_path: Path, header: str) -> None:
    text = header.encode() + b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        archive.writestr("b", b"no array")
    with open_arrays(tmp_path) as arrays:
        assert [*arrays] == ["a"]
    with pytest.raises(TableError, match="damaged"), open_arrays(tmp_path) as arrays:
        arrays["a"]


def test_an_archive_with_flipped_bytes_is_read_or_damaged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "arrays.npz", loss=np.arange(5.0), step=np.arange(5))
    whole = (tmp_path / "arrays.npz").read_bytes()
    refused = 0
    for _ in range(1000):
        raw = bytearray(whole)
        for place in rng.integers(len(raw), size=2):
            raw[place] ^= 1 << rng.integers(8)
        (tmp_path / "arrays.npz").write_bytes(raw)
        try:
            with open_arrays(tmp_path) as arrays:
                assert all(name in arrays and arrays[name] is not None for name in arrays)
        except TableError:
            refused += 1
    assert refused > 500
