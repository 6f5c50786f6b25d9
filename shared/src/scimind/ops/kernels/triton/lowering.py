"""What triton-ascend makes of the kernels without a device: its Linalg dialect, ``ttadapter``.

Everything up to there is target-independent text that needs neither CANN nor a driver; the next
stage is the compiler of CANN (``bishengir-compile``).

    python -m scimind.ops.kernels.triton.lowering FOLDER

writes the files for launches at sizes from the papers. It needs a process in which no kernel was
interpreted, see `interpreter`.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scimind.ops.kernels.triton import (
    block_scores,
    compress_blocks,
    compressed_attention,
    compressed_attention_grad,
    latent_attention,
    paged_attention,
    select_blocks,
    selected_attention,
    selected_attention_grad,
)
from scimind.ops.kernels.triton.arrays import BFLOAT16, Launch, function, recorded

TARGET = "Ascend910B3"
DTYPES: dict[str, Any] = {
    "float32": np.dtype("float32"),
    "float16": np.dtype("float16"),
    "bfloat16": BFLOAT16,
}


def examples(dtype: str) -> list[Launch]:
    """A launch of every kernel for data of ``dtype``.

    The sizes are those of NSA (four groups of 16 heads of 192 and 128), of DeepSeek-V2's latent
    cache (rank 512, rope 64) and of a paged cache with eight groups.
    """

    def data(*shape: int) -> Any:
        return np.empty(shape, DTYPES[dtype])

    def integers(*shape: int) -> Any:
        return np.zeros(shape, np.int32)

    tokens, blocks = 128, 7
    query, key, value = data(2, 64, tokens, 192), data(2, 4, tokens, 192), data(2, 4, tokens, 128)
    short, brief = data(2, 4, blocks, 192), data(2, 4, blocks, 128)
    with recorded() as launches:
        compress_blocks(key, None, 32, 16)
        compress_blocks(key, data(4, 32), 32, 16)
        out, logsumexp = compressed_attention(query, short, brief, 32, 16)
        compressed_attention_grad(query, short, brief, out, logsumexp, out, 32, 16)
        block_scores(query, short, logsumexp, 32, 16, 64)
        chosen = select_blocks(query, short, 32, 16, 64, 16, logsumexp=logsumexp)
        out, logsumexp = selected_attention(query, key, value, chosen, 64)
        selected_attention_grad(query, key, value, chosen, out, logsumexp, out, 64)
        table, length = integers(2, 32), integers(2)
        paged_attention(data(2, 32, 128), data(64, 32, 8, 128), data(64, 32, 8, 128), table, length)
        latent_attention(
            data(2, 16, 2, 512),
            data(2, 16, 2, 64),
            data(64, 64, 512),
            data(64, 64, 64),
            table,
            length,
            0.1,
        )
    return launches


def names(launches: list[Launch]) -> Iterator[tuple[str, Launch]]:
    """Different launches with a name for each; the constants tell those of one kernel apart."""
    seen: dict[str, list[Launch]] = {}
    for launch in launches:
        known = seen.setdefault(launch.kernel, [])
        if launch not in known:
            known.append(launch)
            yield launch.kernel + (f".{len(known)}" if len(known) > 1 else ""), launch


def lower(launch: Launch, target: str = TARGET) -> dict[str, str]:
    """The text of ``ttir`` and ``ttadapter`` of one launch, specialised as at run time.

    Raises:
        RuntimeError: The installed ``triton`` is not triton-ascend.
        subprocess.CalledProcessError: triton-ascend cannot lower the kernel; ``stderr`` says why.
    """
    compiler = importlib.import_module("triton.compiler.compiler")
    backends = importlib.import_module("triton.backends")
    if "ascend" not in backends.backends:
        raise RuntimeError("the installed triton has no Ascend backend; install triton-ascend")
    ir = importlib.import_module("triton._C.libtriton").ir
    fn = function(launch.kernel)
    place = importlib.import_module("triton.backends.compiler").GPUTarget("npu", target, 0)
    backend = compiler.make_backend(place)
    values = [{**launch.constants, **launch.numbers}.get(name, _Aligned()) for name in fn.arg_names]
    attributes = backend.get_attrs_descriptor(fn.params, values)
    constants = dict(launch.constants)
    for index in attributes.get_constants():
        constants[fn.arg_names[index]] = values[index]
    options = backend.parse_options({})
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    source = compiler.ASTSource(fn, dict(launch.types), constants, attributes)
    code = source.make_ir(
        options, backend.get_codegen_implementation(), backend.get_module_map(), context
    )
    stages: dict[str, Any] = {}
    backend.add_stages(stages, options)
    metadata = {"target": place, **options.__dict__}
    texts = {}
    for stage in ("ttir", "ttadapter"):
        code = stages[stage](code, metadata)
        texts[stage] = str(code)
    return texts


class _Aligned:
    def data_ptr(self) -> int:
        return 0


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for dtype in options.dtypes:
        for name, launch in names(examples(dtype)):
            for stage, text in lower(launch).items():
                (options.folder / f"{name}.{dtype}.{stage}").write_text(text)


if __name__ == "__main__":
    main()
