"""Shape annotations; the only module that imports jaxtyping.

``Float[Tensor, "batch token dim"]`` annotates a MindSpore tensor, ``Float[np.ndarray, "token 3"]``
an array. Annotations cost nothing in production; the tests switch the checker on.
``Tensor`` is resolved lazily so that importing this module does not import MindSpore.
"""

from typing import TYPE_CHECKING, Any

from jaxtyping import Bool, Float, Int, Shaped

if TYPE_CHECKING:
    from mindspore import Tensor
else:

    def __getattr__(name: str) -> Any:
        if name == "Tensor":
            from mindspore import Tensor

            return Tensor
        raise AttributeError(name)


__all__ = ["Bool", "Float", "Int", "Shaped", "Tensor"]
