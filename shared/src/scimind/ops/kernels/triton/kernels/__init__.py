"""Device code in Triton, for any backend of it; each module is imported when it is first launched.

The kernels use what Triton 3.2 (on which triton-ascend is based) and later versions share. Each one
is persistent: ``tasks`` independent pieces of work are dealt out to however many programs were
started, because Ascend starts at most 65535 and works best with one for each core. Accesses are
contiguous tiles at a scalar offset, which Ascend moves as a whole; gathers would be loops there.
Data are float32, float16 or bfloat16, sums and exponentials float32.

``no_type_check`` keeps the type checker of the tests, which wraps functions, away from the source
that Triton compiles.
"""
