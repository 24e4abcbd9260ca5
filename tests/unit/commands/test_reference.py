"""The reference holds what results must not leave, and its page says what it holds."""

from pathlib import Path

import polars as pl
import pytest

from gammascape.cli import main
from gammascape.commands import reference
from gammascape.commands.reference import (
    PAGE,
    REFERENCE,
    TABLES,
    check_study,
    compare,
    page_text,
    read_reference,
    stored_part,
    studies_with_reference,
)

ROOT = Path(__file__).parents[3]
SCALING, CLAIMS, PERFORMANCE = TABLES


def scaling(
    slope: float = 2.0, low: float = 1.9, high: float = 2.3, **values: object
) -> pl.DataFrame:
    row = {
        "slice": "s", "edge": "eta_min", "window": "lazy", "slope": slope, "slope_low": low,
        "slope_high": high, "predicted_slope": 2.0, "prefactor_log10": 0.123456789, "gammas": 4,
        "seeds": 1,
    }  # fmt: skip
    return pl.DataFrame([row | values])


@pytest.mark.parametrize("part", ["check", "page"])
def test_a_folder_without_reference_is_one_message(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reference", part]) == 2
    assert "docs/reference: no such folder; call this in a clone" in capsys.readouterr().err


def test_numbers_may_move_within_half_of_their_interval() -> None:
    kept = stored_part(scaling(), SCALING)
    assert kept["prefactor_log10"].item() == 0.12346
    assert compare(stored_part(scaling(2.19), SCALING), kept, SCALING) == []
    [said] = compare(stored_part(scaling(2.21), SCALING), kept, SCALING)
    assert said == "scaling: s eta_min lazy: slope 2.21, reference 2 ± 0.2"


def test_a_narrow_interval_leaves_room_for_a_step_of_the_grid() -> None:
    kept = stored_part(scaling(low=1.99, high=2.01), SCALING)
    assert compare(stored_part(scaling(2.09), SCALING), kept, SCALING) == []
    assert compare(stored_part(scaling(2.11), SCALING), kept, SCALING)


def test_rows_on_one_side_alone_are_differences() -> None:
    kept, other = stored_part(scaling(), SCALING), stored_part(scaling(edge="eta_best"), SCALING)
    assert compare(other, kept, SCALING) == [
        "scaling: s eta_best lazy is not in the reference",
        "scaling: s eta_min lazy is in the reference alone",
    ]


def test_every_kept_table_can_be_read_and_agrees_with_itself() -> None:
    assert studies_with_reference(ROOT / REFERENCE)
    for study in studies_with_reference(ROOT / REFERENCE):
        assert (ROOT / f"config/studies/{study}.yaml").is_file()
        for spec in TABLES:
            kept = read_reference(study, spec.name, ROOT / REFERENCE)
            # A study of few gammas has no exponents, and may judge no claim.
            assert spec.name != "performance" or not kept.is_empty()
            assert compare(kept.drop("tolerance", strict=False), kept, spec) == []


def test_what_is_written_is_what_is_checked(tmp_path: Path) -> None:
    tables = tmp_path / "results/mine/tables"
    tables.mkdir(parents=True)
    for spec in TABLES:
        kept = read_reference("teacher", spec.name, ROOT / REFERENCE)
        if spec is PERFORMANCE:
            kept = kept.with_columns(budget=pl.lit(1), steps=pl.lit(1))
        kept.write_parquet(tables / f"{spec.name}.parquet")
    folders = (tmp_path / "results", tmp_path / "reference")
    reference.write_reference("mine", *folders)
    assert check_study("mine", *folders) == []
    moved = pl.read_parquet(tables / "claims.parquet").with_columns(pl.col("estimate") + 99)
    moved.write_parquet(tables / "claims.parquet")
    said = check_study("mine", *folders)
    assert len(said) == moved.height
    assert all(line.startswith("claims: ") for line in said)


def test_the_page_of_claims_is_that_of_the_reference() -> None:
    text = (ROOT / PAGE).read_text()
    assert page_text(text, ROOT / REFERENCE) == text
    for study in studies_with_reference(ROOT / REFERENCE):
        assert f"<!-- begin claims {study} -->" in text


def test_the_page_follows_the_reference(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    for spec in TABLES:
        table = read_reference("teacher", spec.name, ROOT / REFERENCE)
        if spec is CLAIMS:
            table = table.with_columns(verdict=pl.lit("differs"))
        table.write_csv(tmp_path / f"teacher/{spec.name}.csv")
    text = "<!-- begin claims teacher -->\nold\n<!-- end -->\nafter"
    made = page_text(text, tmp_path)
    assert "| differs |" in made
    assert "agrees" not in made
    assert made.endswith("<!-- end -->\nafter")
    assert page_text(made, tmp_path) == made


def test_the_accuracies_of_the_page_are_percent_by_gamma(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    rows = [
        ("a", "accuracy", -1.0, 0.5),
        ("a", "accuracy", 2.0, 0.9061),
        ("b", "accuracy", -1.0, None),
        ("b", "accuracy", 2.0, 0.25),
    ]
    names = ["slice", "measure", "gamma_log10", "value"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(tmp_path / "s/performance.csv")
    made = page_text("<!-- begin accuracy s -->\n<!-- end -->", tmp_path)
    assert "| log10 γ | -1 | 2 |" in made
    assert "| `a` | 50.0 | 90.6 |" in made
    assert "| `b` |  | 25.0 |" in made


def test_a_page_that_is_not_current_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "claims.md"
    page.write_text("<!-- begin claims teacher -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(reference, "PAGE", page)
    monkeypatch.chdir(ROOT)
    assert main(["reference", "page", "--check"]) == 1
    assert "is not current" in capsys.readouterr().out
    assert main(["reference", "page"]) == 0
    assert main(["reference", "page", "--check"]) == 0
