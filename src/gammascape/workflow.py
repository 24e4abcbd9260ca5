"""What the Snakefile needs to know about studies: cells by path, slices by name, parameters of rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gammascape.study import Cell, Config, Slice, Study, load_config, load_study
from gammascape.study.datasets import Images


@dataclass(frozen=True)
class Plan:
    """The studies of one call of Snakemake."""

    config: Config
    studies: Mapping[str, Study]
    cells: Mapping[str, Cell]
    """All cells of all studies by the path of their artifact."""

    def slice(self, study: str, key: str) -> Slice:
        """The slice named `key` of a study.

        Raises:
            KeyError: if the study has no such slice.
        """
        for part in self.studies[study].slices:
            if part.key == key:
                return part
        raise KeyError(f"study {study} has no slice {key}")

    def prepared_data(self, cell: str) -> list[str]:
        """The manifest of the prepared data that a cell reads, as a list of one or none."""
        dataset = self.cells[cell].dataset
        # Images come from files; other samples are drawn from a law.
        return [f"results/data/{dataset.kind}/manifest.json"] if isinstance(dataset, Images) else []

    def cells_params(self, study: str, key: str) -> dict[str, Any]:
        """Parameters of the rule `cells`: how the slice is named and how its cells are judged."""
        part, analysis = self.slice(study, key), self.studies[study].analysis
        return {
            "labels": {
                "slice": part.key,
                "model": part.model,
                "dataset": part.dataset,
                "loss": part.loss,
                "batch_size": part.batch_size,
                "steps": part.steps,
                "passes": part.passes,
            },
            "thresholds": {
                "trained_below": analysis.trained_below,
                "runaway_above": analysis.runaway_above,
                "catapult_above": analysis.catapult_above,
            },
        }

    def scaling_params(self, study: str) -> dict[str, Any]:
        """Parameters of the rule `scaling`: windows, resamples and confidence level."""
        content: dict[str, Any] = self.studies[study].analysis.model_dump(
            mode="json", by_alias=True
        )
        return content

    def figures(self, study: str) -> list[str]:
        """Stems of a study's figures in the order of the page."""
        keys = [part.key for part in self.studies[study].slices]
        names = [f"portrait/{key}" for key in keys] + ["edges", "accuracy", "similarity"]
        names += [f"{kind}/{key}" for key in keys for kind in ("loss_curves", "collapse")]
        return [f"results/{study}/figures/{name}" for name in names]


def load_plan(config: Mapping[str, Any]) -> Plan:
    """Read the configuration and the studies it names.

    Raises:
        StudyError: with all that is wrong in one message.
    """
    checked = load_config(config)
    studies = [load_study(path) for path in checked.studies]
    return Plan(
        config=checked,
        studies={study.name: study for study in studies},
        cells={path: cell for study in studies for path, cell in study.by_path.items()},
    )


def write_if_changed(path: Path, text: str) -> None:
    """Write a file only when its content changes: a newer file time would make its readers run again."""
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
