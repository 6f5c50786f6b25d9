"""The cases of the declared operators, from their rules and sizes."""

from __future__ import annotations

from typing import Any

from operator_workers.cases import JOINED, VARIANTS, Case, Tensor, Variant, joined_case
from operator_workers.work import many_calls
from scimind.ops import OPERATORS, Operator
from scimind.ops.rule import evaluate, shape_of


def cases_of(entry: Operator, quick: bool) -> list[Case]:
    """The variants of an operator at their sizes, small to large."""
    found = []
    for variant in VARIANTS.get(entry.rule.op, (Variant(),)):
        sizes = variant.sizes
        chosen = sizes if isinstance(sizes, tuple) else tuple(map(sizes, map(dict, entry.sizes)))
        found += [case_of(entry, variant, given) for given in (chosen[:1] if quick else chosen)]
    return found


def case_of(entry: Operator, variant: Variant, sizes: dict[str, Any]) -> Case:
    rule = entry.rule
    options: dict[str, Any] = {}
    for option in rule.options:
        default = variant.options.get(option.name, option.default)
        options[option.name] = sizes.get(option.name, default)
    known = {**options, **sizes}
    known |= rule.derive(known)

    def tensor(found: Any) -> Tensor | None:
        if found.name in variant.absent:
            return None
        axes = variant.axes.get(found.name)
        below = evaluate(entry.below[found.name], known) if found.name in entry.below else 100
        shape = shape_of(tuple(axes.split()) if axes else found.axes, known)
        return Tensor(family=found.family, shape=shape, below=below)

    tensors = {found.name: tensor(found) for found in rule.tensors}
    backward = entry.kernels[0].backward
    gradient = [] if backward is None else [n[1:] for n in backward.partition("->")[2].split()]
    case = Case(
        operator=rule.op,
        variant=variant.name,
        sizes=sizes,
        tensors=tensors,
        options=options,
        results=[Tensor(family=r.family, shape=shape_of(r.axes, known)) for r in rule.results],
        gradient=[name for name in gradient if tensors[name] is not None],
        changes=list(entry.in_place),
    )
    return Case(**{**vars(case), "calls": many_calls(case)})


def all_cases(only: list[str], quick: bool) -> list[Case]:
    found = []
    for name, entry in OPERATORS.items():
        if entry.kernels and (not only or name in only):
            found += cases_of(entry, quick)
    for name, sizes in JOINED.items():
        if not only or name in only:
            found += [joined_case(name, given) for given in (sizes[:1] if quick else sizes)]
    return found
