"""The room of numbers: rounding, the affine map, and fixed-point arithmetic.

Nothing here knows what a network is. Read `rounding`, then `qparams` (what a scale and a zero
point are), `affine` (real -> code -> real) and `fixed_point` (what a microcontroller does
instead of multiplying by a real number).
"""
