"""What a model is asked for about one input: properties, labels, sequences, structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from biomol.chem.vocab import (
    BACKBONE_SLOTS,
    NUM_SLOTS,
    PROTEIN_CODES,
    PROTEIN_IDS,
    PROTEIN_LETTERS,
    TOKENS,
    MolType,
)
from biomol.config.predict import PredictConfig
from biomol.data.complex import Complex
from biomol.data.datasets.flip import CLASSES
from biomol.io.write import write_mmcif
from biomol.tasks.chains import without_side_chains
from biomol.tasks.engine import Engine
from scimind.errors import InputError
from scimind.typing import Bool

_LETTERS = dict(zip(PROTEIN_CODES, PROTEIN_LETTERS, strict=True))
_SECONDARY_STRUCTURE = "secondary_structure"


@dataclass(kw_only=True)
class Prediction:
    """Everything predicted for one input; JSON-able.

    Attributes:
        properties: Value by property name.
        labels: Class letters of the protein residues by label name.
        designs: Designed sequences.
        recovery: Share of native residues in each design.
        files: Structure files, relative to the output folder.
    """

    properties: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    designs: list[str] = field(default_factory=list)
    recovery: list[float | None] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


Application = Callable[[Engine, Complex, str, PredictConfig, Path, Prediction], None]


def predict_properties(
    engine: Engine,
    record: Complex,
    name: str,
    config: PredictConfig,
    folder: Path,
    prediction: Prediction,
) -> None:
    """Scalar properties of the record, from its chemistry alone."""
    del name, folder
    names = list(config.properties or engine.property_names)
    if not names:
        raise InputError("the model knows no property", rule="predict.no_property")
    values = engine.properties([record], names)[0]
    prediction.properties.update(dict(zip(names, map(float, values), strict=True)))


def predict_secondary_structure(
    engine: Engine,
    record: Complex,
    name: str,
    config: PredictConfig,
    folder: Path,
    prediction: Prediction,
) -> None:
    """H, E or C of each protein residue."""
    del name, config, folder
    protein = record.mol_type == MolType.PROTEIN
    if not protein.any():
        raise InputError(
            "secondary structure is a label of protein residues, and there are none",
            rule="predict.no_protein",
        )
    found = engine.token_probabilities([record], _SECONDARY_STRUCTURE)[0]
    classes = CLASSES[_SECONDARY_STRUCTURE]
    letters = [classes[index] for index in found[protein].argmax(axis=-1)]
    prediction.labels[_SECONDARY_STRUCTURE] = "".join(letters)


def design_sequences(
    engine: Engine,
    record: Complex,
    name: str,
    config: PredictConfig,
    folder: Path,
    prediction: Prediction,
) -> None:
    """New identities for all protein residues with a resolved backbone; the rest is kept."""
    del name, folder
    hidden = designable(record)
    if not hidden.any():
        raise InputError(
            "inverse folding needs a protein backbone (N, CA, C of a residue), and there is none",
            rule="predict.no_backbone",
        )
    for index in range(config.num_designs):
        restype = engine.design(
            [record],
            [hidden],
            temperature=config.temperature,
            seed=config.seed + index,
            num_steps=config.design_steps,
        )[0]
        protein = record.mol_type == MolType.PROTEIN
        prediction.designs.append(_chains_text(record, restype, protein))
        native = hidden & np.isin(record.restype, PROTEIN_IDS)
        same = float(np.mean(restype[native] == record.restype[native])) if native.any() else None
        prediction.recovery.append(same)


def fold(
    engine: Engine,
    record: Complex,
    name: str,
    config: PredictConfig,
    folder: Path,
    prediction: Prediction,
) -> None:
    """Positions of all atoms from the chemistry alone; positions of the input are not used."""
    blank = without_positions(record)
    _sample(engine, blank, np.zeros_like(blank.coord_mask), name, config, folder, prediction)


def place_side_chains(
    engine: Engine,
    record: Complex,
    name: str,
    config: PredictConfig,
    folder: Path,
    prediction: Prediction,
) -> None:
    """Side-chain positions on the given backbone; ligands and other chains are kept."""
    if not designable(record).any():
        raise InputError(
            "side chains need a protein backbone (N, CA, C of a residue), and there is none",
            rule="predict.no_backbone",
        )
    protein = record.mol_type == MolType.PROTEIN
    stripped = without_side_chains(record)
    beyond = np.arange(NUM_SLOTS) >= BACKBONE_SLOTS[MolType.PROTEIN]
    given = record.coord_mask & ~(protein[:, None] & beyond)
    shown = np.where(given[..., None], record.coords, stripped.coords)
    blank = _with_positions(stripped, shown, given)
    # A residue without backbone has nowhere to put its side chain.
    wanted = given | (designable(record)[:, None] & beyond & record.atom_mask)
    # one answer is the central one, several are samples
    noise = 0.0 if config.num_samples == 1 else 1.0
    _sample(engine, blank, given, f"{name}-side-chains", config, folder, prediction, wanted, noise)


APPLICATIONS: dict[str, Application] = {
    "property": predict_properties,
    "secondary_structure": predict_secondary_structure,
    "inverse_folding": design_sequences,
    "fold": fold,
    "side_chains": place_side_chains,
}
"""What can be predicted, by the name of the task."""


def applicable(engine: Engine, record: Complex) -> list[str]:
    """Tasks that make sense for a record, given what the model knows."""
    found = ["property"] if engine.property_names else []
    protein = bool((record.mol_type == MolType.PROTEIN).any())
    if protein and _SECONDARY_STRUCTURE in engine.token_label_names:
        found.append("secondary_structure")
    if designable(record).any():
        found += ["inverse_folding", "side_chains"]
    return [*found, "fold"]


def designable(record: Complex) -> Bool[np.ndarray, " token"]:
    """Protein residues with resolved N, CA and C."""
    backbone = record.coord_mask[:, :3].all(axis=1)
    return np.asarray(backbone & (record.mol_type == MolType.PROTEIN))


def without_positions(record: Complex) -> Complex:
    """The record as if it had been given as sequence and chemistry only."""
    return _with_positions(record, np.zeros_like(record.coords), np.zeros_like(record.coord_mask))


def _with_positions(record: Complex, coords: np.ndarray, mask: np.ndarray) -> Complex:
    return replace(record, coords=coords.astype(np.float32), coord_mask=mask)


def _sample(
    engine: Engine,
    record: Complex,
    given: np.ndarray,
    name: str,
    config: PredictConfig,
    folder: Path,
    prediction: Prediction,
    written: np.ndarray | None = None,
    noise: float = 1.0,
) -> None:
    samples = engine.structures(
        [record],
        [given],
        seed=config.seed,
        num_steps=config.num_steps,
        num_samples=config.num_samples,
        noise=noise if config.noise is None else config.noise,
    )[0]
    for index, coords in enumerate(samples):
        suffix = f"-{index}" if len(samples) > 1 else ""
        path = Path("structures") / f"{name}{suffix}.cif"
        write_mmcif(record, coords, folder / path, mask=written)
        prediction.files.append(path.as_posix())


def _chains_text(record: Complex, restype: np.ndarray, protein: np.ndarray) -> str:
    """Letters of the protein chains, ``/`` between chains, X for the unknown."""
    chains: dict[int, list[str]] = {}
    for token in np.flatnonzero(protein):
        chains.setdefault(int(record.chain_id[token]), []).append(
            _LETTERS.get(TOKENS[int(restype[token])], "X")
        )
    return "/".join("".join(letters) for letters in chains.values())


def sequence_of(record: Complex) -> str:
    """Letters of the protein chains of a record, ``/`` between chains."""
    return _chains_text(record, record.restype, record.mol_type == MolType.PROTEIN)
