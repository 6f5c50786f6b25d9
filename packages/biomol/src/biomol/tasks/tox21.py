"""Tox21: twelve toxicity assays of 7831 molecules, many of them not measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.moleculenet import load_moleculenet
from biomol.tasks.property_task import MoleculeTask
from scimind.eval.task import register

ASSAYS = (
    "NR-AR",
    "NR-AR-LBD",
    "NR-AhR",
    "NR-Aromatase",
    "NR-ER",
    "NR-ER-LBD",
    "NR-PPAR-gamma",
    "SR-ARE",
    "SR-ATAD5",
    "SR-HSE",
    "SR-MMP",
    "SR-p53",
)


@register
class Tox21(MoleculeTask):
    """Mean ROC-AUC over the assays; blanks are left out assay by assay (Tox21 challenge 2014)."""

    name, primary, kind = "tox21", "roc_auc", "binary"
    description = "Twelve toxicity assays of 7831 molecules (Tox21 challenge 2014, MoleculeNet)."

    def property_names(self) -> Sequence[str]:
        """See the base class."""
        return tuple(f"tox21/{assay}" for assay in ASSAYS)

    def dataset(self, folder: Path) -> Dataset:
        """See the base class."""
        return load_moleculenet(folder / "property" / "moleculenet", "tox21")
