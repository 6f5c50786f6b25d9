"""Arguments that an operator changes have to own their memory."""

from __future__ import annotations

import weakref
from typing import Any

from mindspore import Tensor, ops
from mindspore.ops.primitive import PrimitiveWithInfer, prim_attr_register

from scimind.ops.rule import RuleError

_owners: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()


class _Owned(PrimitiveWithInfer):
    """Refuses views in pynative mode, in a graph it is nothing.

    MindSpore hands custom operators a copy of a view, whatever its strides, and the changes are
    lost. It does not say what is a view, but refuses to assign to one: each tensor is assigned
    to itself once.
    """

    @prim_attr_register  # type: ignore[untyped-decorator]
    def __init__(self) -> None:
        super().__init__("scimind_owned")
        self.set_const_prim(True)
        self.add_prim_attr("constexpr_prim", True)

    def __infer__(self, *_: Any) -> dict[str, None]:
        return {"dtype": None, "shape": None, "value": None}

    def __call__(self, op: str, name: str, tensor: Tensor) -> None:
        if _owners.get(id(tensor)) is tensor:
            return
        try:
            ops.assign(tensor, tensor)
        except RuntimeError as error:
            if "view" not in str(error):
                raise
            raise RuleError(
                f"{op}: {name} is a view of another tensor, where changes would be lost; it has to "
                "own its memory, as a Parameter of its copy() does"
            ) from error
        _owners[id(tensor)] = tensor


owned = _Owned()
