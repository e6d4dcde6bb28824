"""A model made ready to answer: kernels, rounding and the precision that it computes in."""
