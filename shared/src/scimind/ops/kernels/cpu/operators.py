"""The kernels as operators with gradients, registered for float32 on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mindspore import Tensor
from mindspore import dtype as mstype
from mindspore import ops as ms_ops

from scimind.ops import plain
from scimind.ops.kernels.cpu import load
from scimind.ops.registry import register

_LIBRARY: Path | None = load()


def _custom(name: str, shapes: Any, dtypes: Any, bprop: Any = None) -> Any:
    return ms_ops.Custom(f"{_LIBRARY}:{name}", shapes, dtypes, "aot", bprop)


def _same(x: Any, *_: Any) -> Any:
    return x


def _pair(x: Any, y: Any, *_: Any) -> Any:
    return x, y


def _float(*_: Any) -> Any:
    return mstype.float32


def _floats(count: int) -> Any:
    def dtypes(*_: Any) -> Any:
        return (mstype.float32,) * count

    return dtypes


if _LIBRARY is not None:
    # Each operator comes with the gradient that MindSpore calls, ``bprop(*inputs, out, dout)``.

    _gelu_grad = _custom("gelu_grad", _same, _same)
    _silu_grad = _custom("silu_grad", _same, _same)
    _swiglu_grad = _custom("swiglu_grad", _pair, _pair)
    _softmax_grad = _custom("softmax_grad", _same, _same)

    def _gelu_bprop(x: Any, out: Any, dout: Any) -> Any:
        return (_gelu_grad(x, dout),)

    def _silu_bprop(x: Any, out: Any, dout: Any) -> Any:
        return (_silu_grad(x, dout),)

    def _swiglu_bprop(gate: Any, up: Any, out: Any, dout: Any) -> Any:
        return _swiglu_grad(gate, up, dout)

    def _softmax_bprop(x: Any, out: Any, dout: Any) -> Any:
        return (_softmax_grad(out, dout),)

    _gelu = _custom("gelu", _same, _same, _gelu_bprop)
    _silu = _custom("silu", _same, _same, _silu_bprop)
    _swiglu = _custom("swiglu", _same, _same, _swiglu_bprop)
    _softmax = _custom("softmax", _same, _same, _softmax_bprop)

    @register("gelu", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def gelu(x: Any, approximate: str) -> Any:
        """GELU in the tanh form; the erf form is the plain one."""
        if approximate != "tanh" or 0 in x.shape:
            return plain.gelu(x, approximate)
        return _gelu(x)

    @register("silu", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def silu(x: Any) -> Any:
        """``x sigmoid(x)``."""
        return plain.silu(x) if 0 in x.shape else _silu(x)

    @register("swiglu", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def swiglu(gate: Any, up: Any) -> Any:
        """``silu(gate) up``."""
        return plain.swiglu(gate, up) if 0 in gate.shape else _swiglu(gate, up)

    @register("softmax", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def softmax(x: Any) -> Any:
        """Softmax over the last axis."""
        return plain.softmax(x) if 0 in x.shape else _softmax(x)

    def _layer_norm_shapes(x: Any, *_: Any) -> Any:
        return x, (*x[:-1], 2)

    def _layer_norm_grad_shapes(x: Any, weight: Any, *_: Any) -> Any:
        return x, weight, weight

    _layer_norm_grad = _custom("layer_norm_grad", _layer_norm_grad_shapes, _floats(3))

    def _layer_norm_bprop(x: Any, weight: Any, bias: Any, eps: Any, out: Any, dout: Any) -> Any:
        dx, dweight, dbias = _layer_norm_grad(x, weight, out[1], dout[0])
        return dx, dweight, dbias, ms_ops.zeros_like(eps)

    _layer_norm = _custom("layer_norm", _layer_norm_shapes, _floats(2), _layer_norm_bprop)

    @register("layer_norm", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
        """Layer norm over the last axis."""
        if 0 in x.shape:
            return plain.layer_norm(x, weight, bias, eps)
        if weight is None:
            weight = ms_ops.ones((x.shape[-1],), x.dtype)
        if bias is None:
            bias = ms_ops.zeros((x.shape[-1],), x.dtype)
        return _layer_norm(x, weight, bias, Tensor([eps], mstype.float32))[0]

    def _rms_norm_shapes(x: Any, *_: Any) -> Any:
        return x, (*x[:-1], 1)

    _rms_norm_grad = _custom("rms_norm_grad", _pair, _floats(2))

    def _rms_norm_bprop(x: Any, weight: Any, eps: Any, out: Any, dout: Any) -> Any:
        dx, dweight = _rms_norm_grad(x, weight, out[1], dout[0])
        return dx, dweight, ms_ops.zeros_like(eps)

    _rms_norm = _custom("rms_norm", _rms_norm_shapes, _floats(2), _rms_norm_bprop)

    @register("rms_norm", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def rms_norm(x: Any, weight: Any, eps: float) -> Any:
        """RMS norm over the last axis."""
        if 0 in x.shape:
            return plain.rms_norm(x, weight, eps)
        if weight is None:
            weight = ms_ops.ones((x.shape[-1],), x.dtype)
        return _rms_norm(x, weight, Tensor([eps], mstype.float32))[0]

    def _linear_shape(x: Any, weight: Any, *_: Any) -> Any:
        return (*x[:-1], weight[0])

    def _linear_shapes(x: Any, weight: Any, *_: Any) -> Any:
        y = (*x[:-1], weight[0])
        return y, y

    def _linear_grad_shapes(x: Any, weight: Any, *_: Any) -> Any:
        return x, weight, (weight[0],)

    def _linear_activation_grad_shapes(x: Any, weight: Any, z: Any, *_: Any) -> Any:
        return x, weight, (weight[0],), z

    _linear_grad = _custom("linear_grad", _linear_grad_shapes, _floats(3))

    def _linear_bprop(x: Any, weight: Any, out: Any, dout: Any) -> Any:
        dx, dweight, _ = _linear_grad(x, weight, dout)
        return dx, dweight

    def _linear_bias_bprop(x: Any, weight: Any, bias: Any, out: Any, dout: Any) -> Any:
        return _linear_grad(x, weight, dout)

    _linear = _custom("linear", _linear_shape, _float, _linear_bprop)
    _linear_bias = _custom("linear_bias", _linear_shape, _float, _linear_bias_bprop)

    _linear_gelu_grad = _custom("linear_gelu_grad", _linear_activation_grad_shapes, _floats(4))
    _linear_silu_grad = _custom("linear_silu_grad", _linear_activation_grad_shapes, _floats(4))
    _linear_relu_grad = _custom("linear_relu_grad", _linear_activation_grad_shapes, _floats(4))

    def _linear_gelu_bprop(x: Any, weight: Any, bias: Any, out: Any, dout: Any) -> Any:
        dx, dweight, dbias, _ = _linear_gelu_grad(x, weight, out[1], dout[0])
        return dx, dweight, dbias

    def _linear_silu_bprop(x: Any, weight: Any, bias: Any, out: Any, dout: Any) -> Any:
        dx, dweight, dbias, _ = _linear_silu_grad(x, weight, out[1], dout[0])
        return dx, dweight, dbias

    def _linear_relu_bprop(x: Any, weight: Any, bias: Any, out: Any, dout: Any) -> Any:
        dx, dweight, dbias, _ = _linear_relu_grad(x, weight, out[1], dout[0])
        return dx, dweight, dbias

    _linear_gelu = _custom("linear_bias_gelu", _linear_shapes, _floats(2), _linear_gelu_bprop)
    _linear_silu = _custom("linear_bias_silu", _linear_shapes, _floats(2), _linear_silu_bprop)
    _linear_relu = _custom("linear_bias_relu", _linear_shapes, _floats(2), _linear_relu_bprop)

    @register("linear", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def linear(x: Any, weight: Any, bias: Any, activation: str | None) -> Any:
        """``activation(x weightᵀ + bias)`` through oneDNN's sgemm."""
        if 0 in x.shape or 0 in weight.shape:
            return plain.linear(x, weight, bias, activation)
        if activation is None:
            return _linear(x, weight) if bias is None else _linear_bias(x, weight, bias)
        if bias is None:
            bias = ms_ops.zeros((weight.shape[0],), x.dtype)
        if activation == "gelu":
            return _linear_gelu(x, weight, bias)[0]
        if activation == "silu":
            return _linear_silu(x, weight, bias)[0]
        return _linear_relu(x, weight, bias)[0]

    def _attention_shapes(query: Any, key: Any, value: Any, *_: Any) -> Any:
        return (*query[:-1], value[-1]), (*query[:-1], key[2])

    def _attention_grad_shapes(query: Any, key: Any, value: Any, *_: Any) -> Any:
        return query, key, value, (*query[:-1], key[2])

    _attention_grad = _custom("attention_grad", _attention_grad_shapes, _floats(4))

    def _attention_bprop(q: Any, k: Any, v: Any, scale: Any, out: Any, dout: Any) -> Any:
        dq, dk, dv, _ = _attention_grad(q, k, v, scale, out[1], dout[0])
        return dq, dk, dv, ms_ops.zeros_like(scale)

    def _attention_bias_bprop(
        q: Any, k: Any, v: Any, scale: Any, bias: Any, out: Any, dout: Any
    ) -> Any:
        dq, dk, dv, dbias = _attention_grad(q, k, v, scale, out[1], dout[0])
        return dq, dk, dv, ms_ops.zeros_like(scale), dbias

    def _attention_mask_bprop(
        q: Any, k: Any, v: Any, scale: Any, mask: Any, out: Any, dout: Any
    ) -> Any:
        dq, dk, dv, _ = _attention_grad(q, k, v, scale, out[1], dout[0])
        return dq, dk, dv, ms_ops.zeros_like(scale), ms_ops.zeros_like(mask)

    def _attention_bias_mask_bprop(
        q: Any, k: Any, v: Any, scale: Any, bias: Any, mask: Any, out: Any, dout: Any
    ) -> Any:
        dq, dk, dv, dbias = _attention_grad(q, k, v, scale, out[1], dout[0])
        return dq, dk, dv, ms_ops.zeros_like(scale), dbias, ms_ops.zeros_like(mask)

    _attention = _custom("attention", _attention_shapes, _floats(2), _attention_bprop)
    _attention_bias = _custom(
        "attention_bias", _attention_shapes, _floats(2), _attention_bias_bprop
    )
    _attention_mask = _custom(
        "attention_mask", _attention_shapes, _floats(2), _attention_mask_bprop
    )
    _attention_bias_mask = _custom(
        "attention_bias_mask", _attention_shapes, _floats(2), _attention_bias_mask_bprop
    )

    @register("attention", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def attention(query: Any, key: Any, value: Any, mask: Any, bias: Any, scale: float) -> Any:
        """Attention; a bias with broadcast axes is expanded first, a mask is not."""
        if 0 in query.shape or 0 in key.shape or 0 in value.shape:
            return plain.attention(query, key, value, mask, bias, scale)
        factor = Tensor([scale], mstype.float32)
        if bias is not None:
            full = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
            if bias.shape != full:
                bias = ms_ops.broadcast_to(bias, full)
            if mask is None:
                return _attention_bias(query, key, value, factor, bias)[0]
            return _attention_bias_mask(query, key, value, factor, bias, mask)[0]
        if mask is None:
            return _attention(query, key, value, factor)[0]
        return _attention_mask(query, key, value, factor, mask)[0]

    def _adamw_shape(*_: Any) -> Any:
        return (1,)

    _adamw = _custom("adamw", _adamw_shape, _float)

    @register("adamw", device="cpu", dtypes=("float32",), priority=10, name="cpu/kernel")
    def adamw(
        parameter: Any,
        first: Any,
        second: Any,
        gradient: Any,
        learning_rate: Any,
        power1: Any,
        power2: Any,
        beta1: float,
        beta2: float,
        eps: float,
        decay: float,
    ) -> Any:
        """One AdamW update in one pass over memory."""
        constants = Tensor([beta1, beta2, eps, decay], mstype.float32)
        return _adamw(parameter, first, second, gradient, learning_rate, power1, power2, constants)

    def _random_shape(key: Any, stream: Any, extent: Any) -> Any:
        return extent

    def _int(*_: Any) -> Any:
        return mstype.int32

    _random_bits = _custom("random_bits", _random_shape, _int)

    @register("random_bits", device="cpu", dtypes=("int32",), priority=10, name="cpu/kernel")
    def random_bits(key: Any, count: int, stream: Any) -> Any:
        """Threefry-2x32-20, word for word the plain formulation."""
        if count == 0:
            return plain.random_bits(key, count, stream)
        number = Tensor([stream], mstype.int32) if isinstance(stream, int) else stream
        # An operator learns the shape of its output from its inputs only.
        return _random_bits(key, number.reshape((1,)), ms_ops.zeros((count,), mstype.int8))
