"""Many records in little memory: one array per field over all records, unpacked on access.

A record of ``Complex`` has 24 slots per token, of which a ligand atom uses one. Here only used
slots are kept, which makes a table of ten thousand molecules some tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from biomol.chem.vocab import NUM_SLOTS
from biomol.data.complex import Complex

_TOKEN_FIELDS = ("mol_type", "restype", "res_index", "chain_id", "entity_id")
_ATOM_FIELDS = (
    "atom_element",
    "atom_charge",
    "atom_name",
    "ref_pos",
    "coords",
    "coord_mask",
    "chirality",
)
_DTYPES = {
    "mol_type": np.int8,
    "restype": np.int16,
    "atom_element": np.uint8,
    "atom_charge": np.int8,
    "chirality": np.int8,
    "atom_name": np.dtype("S8"),
}


_UNPACKED = {"f": np.dtype(np.float32), "b": np.dtype(np.bool_), "S": np.dtype("<U8")}


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedComplexes(Sequence[Complex]):
    """Immutable sequence of records; ``packed[i]`` builds the record anew.

    Attributes:
        arrays: Concatenated fields. ``token_start``, ``atom_start`` and ``bond_start`` delimit
            the records; ``atom_token`` and ``atom_slot`` place an atom in its record;
            ``prop:<name>`` holds a property of every record with NaN where it is unknown and
            ``label:<name>`` a token label with -1.
        text: Per record: name, source, and the JSON-able chain and residue names.
    """

    arrays: dict[str, np.ndarray]
    text: tuple[dict[str, object], ...]

    def __len__(self) -> int:
        return len(self.text)

    @overload
    def __getitem__(self, index: int) -> Complex: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Complex]: ...
    def __getitem__(self, index: int | slice) -> Complex | Sequence[Complex]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self._unpack(int(index) % len(self))

    def __iter__(self) -> Iterator[Complex]:
        return (self._unpack(index) for index in range(len(self)))

    @property
    def num_tokens(self) -> np.ndarray:
        """Number of tokens of each record, without unpacking."""
        return np.diff(self.arrays["token_start"])

    def inconsistency(self) -> str | None:
        """What does not fit together in the arrays, None when everything does."""
        arrays = self.arrays
        needed = {*_TOKEN_FIELDS, *_ATOM_FIELDS, "bonds", "atom_token", "atom_slot"}
        needed |= {"token_start", "atom_start", "bond_start"}
        if missing := needed - set(arrays):
            return f"{sorted(missing)} are missing"
        ends = {}
        for name in ("token", "atom", "bond"):
            start = arrays[f"{name}_start"]
            if start.shape != (len(self) + 1,) or start[0] != 0 or (np.diff(start) < 0).any():
                return f"{name}_start does not delimit {len(self)} records"
            ends[name] = int(start[-1])
        for name, array in arrays.items():
            if name.endswith("_start"):
                continue
            size = ends["token"]
            if name in _ATOM_FIELDS or name.startswith("atom_"):
                size = ends["atom"]
            elif name == "bonds":
                size = ends["bond"]
            elif name.startswith("prop:"):
                size = len(self)
            if len(array) != size:
                return f"{name} has {len(array)} rows instead of {size}"
        return None

    def with_properties(self, values: dict[str, np.ndarray]) -> PackedComplexes:
        """The same records with further properties.

        Args:
            values: One value per record by property name, NaN where unknown.
        """
        named = {f"prop:{name}": np.asarray(column, np.float64) for name, column in values.items()}
        return replace(self, arrays={**self.arrays, **named})

    def _unpack(self, index: int) -> Complex:
        arrays, text = self.arrays, self.text[index]
        tokens = _span(arrays["token_start"], index)
        atoms = _span(arrays["atom_start"], index)
        bonds = _span(arrays["bond_start"], index)
        count = tokens.stop - tokens.start
        where = arrays["atom_token"][atoms], arrays["atom_slot"][atoms]
        slots = {"atom_mask": np.zeros((count, NUM_SLOTS), np.bool_)}
        slots["atom_mask"][where] = True
        for name in _ATOM_FIELDS:
            packed = arrays[name]
            dtype = _UNPACKED.get(packed.dtype.kind, np.dtype(np.int32))
            slots[name] = np.zeros((count, NUM_SLOTS, *packed.shape[1:]), dtype)
            slots[name][where] = packed[atoms]
        properties = {
            key.removeprefix("prop:"): float(column[index])
            for key, column in arrays.items()
            if key.startswith("prop:") and not np.isnan(column[index])
        }
        labels = {
            key.removeprefix("label:"): column[tokens].astype(np.int32)
            for key, column in arrays.items()
            if key.startswith("label:")
        }
        return Complex(
            **{name: arrays[name][tokens].astype(np.int32) for name in _TOKEN_FIELDS},
            **slots,
            bonds=arrays["bonds"][bonds].astype(np.int32),
            name=str(text["name"]),
            source=str(text["source"]),
            chain_names=_strings(text["chain_names"], None),
            residue_names=_strings(text["residue_names"], count),
            residue_numbers=_strings(text["residue_numbers"], count),
            properties=properties,
            token_labels={name: label for name, label in labels.items() if (label >= 0).any()},
        )


def pack(records: Iterable[Complex]) -> PackedComplexes:
    """Pack records, consuming them one at a time.

    Args:
        records: The records.

    Returns:
        The packed sequence. Float fields keep single precision; atoms are those of ``atom_mask``.
    """
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in (*_TOKEN_FIELDS, *_ATOM_FIELDS, "bonds", "atom_token", "atom_slot")
    }
    starts: dict[str, list[int]] = {"token": [0], "atom": [0], "bond": [0]}
    properties: dict[str, dict[int, float]] = {}
    labels: dict[str, dict[int, np.ndarray]] = {}
    text: list[dict[str, object]] = []
    for index, record in enumerate(records):
        token, slot = np.nonzero(record.atom_mask)
        columns["atom_token"].append(token.astype(np.int32))
        columns["atom_slot"].append(slot.astype(np.int8))
        columns["bonds"].append(record.bonds.astype(np.int32))
        for name in _TOKEN_FIELDS:
            columns[name].append(getattr(record, name).astype(_DTYPES.get(name, np.int32)))
        for name in _ATOM_FIELDS:
            values = getattr(record, name)[token, slot]
            columns[name].append(values.astype(_DTYPES.get(name, values.dtype)))
        starts["token"].append(starts["token"][-1] + record.num_tokens)
        starts["atom"].append(starts["atom"][-1] + len(token))
        starts["bond"].append(starts["bond"][-1] + len(record.bonds))
        for name, value in record.properties.items():
            properties.setdefault(name, {})[index] = value
        for name, label in record.token_labels.items():
            labels.setdefault(name, {})[index] = label
        text.append(
            {
                "name": record.name,
                "source": record.source,
                "chain_names": list(record.chain_names),
                "residue_names": _compressed(record.residue_names),
                "residue_numbers": _compressed(record.residue_numbers),
            }
        )
    if not text:
        raise ValueError("there is no record to pack")
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    for name, start in starts.items():
        arrays[f"{name}_start"] = np.array(start, np.int64)
    for name, known in properties.items():
        column = np.full(len(text), np.nan)
        column[list(known)] = list(known.values())
        arrays[f"prop:{name}"] = column
    for name, known_labels in labels.items():
        flat = np.full(starts["token"][-1], -1, np.int16)
        for index, label in known_labels.items():
            flat[_span(arrays["token_start"], index)] = label
        arrays[f"label:{name}"] = flat
    return PackedComplexes(arrays=arrays, text=tuple(text))


def _span(starts: np.ndarray, index: int) -> slice:
    return slice(int(starts[index]), int(starts[index + 1]))


def _compressed(names: Sequence[str]) -> list[str]:
    """One name stands for a record in which all tokens have the same."""
    return list(names[:1]) if len(set(names)) == 1 else list(names)


def _strings(names: object, count: int | None) -> tuple[str, ...]:
    if not isinstance(names, list):
        raise TypeError(f"a list of names was expected, found {type(names).__name__}")
    if count is not None and len(names) == 1:
        return tuple(names) * count
    return tuple(names)
