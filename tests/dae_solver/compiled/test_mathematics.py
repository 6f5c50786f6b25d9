"""Elementary functions and products of the headers, against those of libm and NumPy."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from dae_solver.compiled.library import header, lanes
from dae_solver.hybrid.learned import arranged, tiles
from instruction_sets import LEVELS_HERE
from scimind.device.compiler import flags, libraries

NAMES = ("sin", "cos", "exp", "log", "tanh", "sqrt", "floor")
LARGEST = {"exp": 709.0, "tanh": 20.0, "floor": 1e17}
# In single precision: the smallest and largest arguments.
SINGLE = {"sin": (1e-30, 9e2), "cos": (1e-30, 9e2), "exp": (1e-30, 88.0), "tanh": (1e-30, 20.0)}
# Units in the last place.
ERROR = {"sin": 3.0, "cos": 3.0, "exp": 1.0, "log": 1.0, "tanh": 2.5, "sqrt": 0.5, "floor": 0.0}

SOURCE = f"""
{header("lanes.h")}
{header("networks.h")}
template <class V, class F>
void each(int64_t count, const Real<V>* in, Real<V>* out, F function) {{
  for (int64_t k = 0; k + lanes_of<V> <= count; k += lanes_of<V>) {{
    V a;
    __builtin_memcpy(&a, in + k, sizeof a);
    a = function(a);
    __builtin_memcpy(out + k, &a, sizeof a);
  }}
}}
}}
extern "C" {{
""" + "".join(
    f"void {kind}_{name}(int64_t count, const {number}* in, {number}* out) "
    f"{{ each<{vector}>(count, in, out, []({vector} a) {{ return {name}(a); }}); }}\n"
    for name in NAMES
    for kind, number, vector in (("own", "double", "Lanes"), ("single", "float", "Singles"))
)
SOURCE += """
void own_larger(int64_t count, const double* in, double* out) {
  each<Lanes>(count, in, out, [](Lanes a) { return larger(a, splat<Lanes>(2.0)); });
}
int tiles() {
#ifdef TILES
  return Tiles::there();
#endif
  return 0;
}
void products(int64_t rows, int64_t columns, const float* weights, const float* bias,
              const uint16_t* tiles, int64_t halves, const float* one, float* out,
              const float* many, float* wide, int shares) {
  const Matrix m = {weights, bias, tiles, rows, columns, halves};
#ifdef TILES
  const Tiles unit;
#endif
  std::vector<float> alone(rows + PANEL);
  product(m, one, alone.data(), 1);
  for (int64_t r = 0; r < rows; ++r) out[r] = silu(alone[r]);
  std::vector<Wide> in(columns), found(rows + ROOM);
  for (int64_t k = 0; k < columns; ++k) __builtin_memcpy(&in[k], many + k * WIDE, sizeof(Wide));
  product(m, in.data(), found.data(), shares);
  for (int64_t r = 0; r < rows; ++r)
    for (int share = 0; share < shares; ++share) put(found[r], share, silu(get(found[r], share)));
  for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(wide + r * WIDE, &found[r], sizeof(Wide));
}
}
"""


@pytest.fixture(scope="module", params=LEVELS_HERE)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path: Path = tmp_path_factory.mktemp("own") / "own.cc"
    number = lanes(request.param)
    path.write_text(f"constexpr int LANES = {number};\n{SOURCE}")
    (found,) = libraries([path], [*flags(request.param), "-O2", "-ffp-contract=fast", "-Wno-psabi"])
    library = ctypes.CDLL(str(found))
    library.lanes = number  # type: ignore[attr-defined]
    return library


def call(own: ctypes.CDLL, name: str, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    kind = "own" if x.dtype == float else "single"
    getattr(own, f"{kind}_{name}")(
        ctypes.c_int64(len(x)), ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(out.ctypes.data)
    )
    return out


@pytest.mark.parametrize("name", NAMES)
def test_functions_are_exact_to_a_few_units_in_the_last_place(own: ctypes.CDLL, name: str) -> None:
    rng = np.random.default_rng(1)
    size = 10.0 ** rng.uniform(-300, np.log10(LARGEST.get(name, 9e5)), 8000)
    x = rng.choice([-1.0, 1.0], len(size)) * size
    x = np.concatenate([x, np.pi / 4 * np.arange(-2000, 2000), rng.uniform(-20, 20, 8000)])
    if name == "exp":
        x = np.clip(x, -700.0, 709.0)
    if name in ("log", "sqrt"):
        x = np.abs(x) + 5e-324
    exact = getattr(np, name)(x.astype(np.longdouble))
    error = np.abs(call(own, name, x) - exact)
    assert (error <= ERROR[name] * np.spacing(np.abs(exact.astype(float)))).all()


@pytest.mark.parametrize("name", NAMES)
def test_functions_in_single_precision(own: ctypes.CDLL, name: str) -> None:
    rng = np.random.default_rng(1)
    least, most = SINGLE.get(name, (1e-37, 1e6))
    size = 10.0 ** rng.uniform(np.log10(least), np.log10(most), 8000)
    x = rng.choice([-1.0, 1.0], len(size)) * size
    x = np.concatenate([x, np.pi / 4 * np.arange(-100, 100), rng.uniform(-20, 20, 7992)])
    if name == "exp":
        x = np.maximum(x, -87.0)
    if name in ("log", "sqrt"):
        x = np.abs(x) + 1e-37
    x = x.astype(np.float32)
    exact = getattr(np, name)(x.astype(float))
    # Near their zeros sines are as exact as those of the remainder of their argument.
    least = 1e-7 if name in ("sin", "cos") else 0.0
    error = np.abs(call(own, name, x) - exact)
    assert (error <= np.maximum(3.0 * np.spacing(np.abs(exact).astype(np.float32)), least)).all()


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_those_of_libm(own: ctypes.CDLL, name: str, kind: type) -> None:
    with np.errstate(all="ignore"):
        large = [1e22, -1e300] if kind == np.float64 else [1e10, -1e30]
        x = np.array([0.0, -0.0, 1e-310, np.inf, -np.inf, np.nan, *large] * 2, kind)
        tolerance = 1e-15 if kind == np.float64 else 2e-7
        found, expected = call(own, name, x), getattr(np, name)(x)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0)


def test_what_is_not_a_number_is_larger_than_any(own: ctypes.CDLL) -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0, np.inf, np.nan, 1e-320, 1e300])
    expected = [2.0, 2.0, 2.0, 3.0, np.inf, np.nan, 2.0, 1e300]
    np.testing.assert_array_equal(call(own, "larger", x), expected)


SHAPES = [(1, 1), (8, 4), (13, 7), (16, 65), (130, 157)]
BIASED_SHARES = [(True, 1), (False, 2), (True, 3), (False, 4)]


def layer(
    own: ctypes.CDLL, shape: tuple[int, int], biased: bool, shares: int, halves: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A layer of many and of one, what NumPy says, and the largest sum of sizes of products."""
    rng = np.random.default_rng(2)
    rows, columns = shape
    weights = rng.standard_normal(shape).astype(np.float32)
    bias = rng.standard_normal(rows).astype(np.float32)
    share = 2 * own.lanes
    many = rng.standard_normal((columns, 4 * share)).astype(np.float32) * 10
    one = np.ascontiguousarray(many[:, 3])
    out, wide = np.empty(rows, np.float32), np.empty((rows, 4 * share), np.float32)

    def address(array: np.ndarray | None) -> ctypes.c_void_p | None:
        return None if array is None else ctypes.c_void_p(array.ctypes.data)

    plain, padded = arranged(weights), np.pad(bias, (0, -rows % 8)) if biased else None
    tiled = tiles(weights, halves) if halves else None
    own.products(
        ctypes.c_int64(rows),
        ctypes.c_int64(columns),
        *map(address, (plain, padded, tiled)),
        ctypes.c_int64(halves),
        *map(address, (one, out, many, wide)),
        ctypes.c_int(shares),
    )
    many, wide = many[:, : share * shares], wide[:, : share * shares]
    with np.errstate(over="ignore"):
        before = weights.astype(float) @ many + (bias[:, None] if biased else 0.0)
        expected = before / (1.0 + np.exp(-before))
    return wide, out, expected, float((np.abs(weights) @ np.abs(many)).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("biased", "shares"), BIASED_SHARES)
def test_layers_are_those_of_numpy(
    own: ctypes.CDLL, shape: tuple[int, int], biased: bool, shares: int
) -> None:
    wide, out, expected, size = layer(own, shape, biased, shares)
    np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-6 * size)
    np.testing.assert_allclose(out, expected[:, 3], rtol=1e-5, atol=1e-6 * size)


# What a half loses is half a unit of its last of 8 bits at most; the rest of two, of 16 bits.
@pytest.mark.parametrize(("halves", "lost"), [(1, 2.0**-8), (2, 2.0**-16)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("biased", "shares"), BIASED_SHARES)
def test_layers_by_the_matrix_unit(
    own: ctypes.CDLL, shape: tuple[int, int], biased: bool, shares: int, halves: int, lost: float
) -> None:
    if not own.tiles():
        pytest.skip("no matrix unit (AMX), or not of this instruction set")
    wide, _, expected, size = layer(own, shape, biased, shares, halves)
    error = np.abs(wide - expected).max()
    # Both factors lose it, and the slope of the activation is 1.1 at most.
    assert 0.0 < error < 2.3 * lost * size
    if halves == 1 and shape[0] > 100:
        assert error > 1e-5 * size, "these are not numbers of 16 bits"


@pytest.mark.parametrize("halves", [1, 2])
def test_tiles_add_up_to_the_weights(halves: int) -> None:
    weights = np.random.default_rng(3).standard_normal((21, 70)).astype(np.float32)
    whole = tiles(weights, halves).astype(np.uint32).reshape(2, 3, halves, 16, 32) << 16
    found = whole.view(np.float32).sum(2).transpose(0, 2, 1, 3).reshape(32, 96)
    np.testing.assert_allclose(found[:21, :70], weights, rtol=2.0 ** (-8 * halves))
    assert not found[21:].any()
    assert not found[:, 70:].any()
