"""What `gammascape advise` says is the table advice, as text and as JSON, and so is the head of the page."""

import json
import re
from html import unescape
from pathlib import Path

import polars as pl
import pytest

from gammascape.cli import main

TABLE = Path("results/tiny/tables/advice.parquet")


def test_the_command_and_the_page_say_what_is_in_the_table(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pl.read_parquet(TABLE)
    assert table["slice"].n_unique() == 2
    assert main(["advise", "config/studies/tiny.yaml"]) == 0
    said = capsys.readouterr().out
    page = re.sub("<.*?>", "", unescape(Path("results/index.html").read_text()))
    shown = page.replace("γ", "gamma").replace("η", "eta")
    for row in table.iter_rows(named=True):
        if row["kind"] == "gamma":
            assert row["verdict"] in said
            assert row["verdict"] in shown
            continue
        assert row["text"] in said
        assert row["text"] in shown
        assert (row["todo"] or "").replace("scale STUDY", "scale tiny") in said
    for text in (said, shown):
        assert "gammascape scale tiny --width 2x" in text
        assert "STUDY" not in text
    assert main(["advise", "tiny", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = [row for kinds in found.values() for rows in kinds.values() for row in rows]
    assert pl.DataFrame(rows, schema=table.schema).equals(table)
