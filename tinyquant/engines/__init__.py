"""Other ways to run an integer graph, which register themselves with `tinyquant.integer` when this room is imported.

Other answers: read `dialects` for the rules in which real runtimes differ, and `dialect_arithmetic` for those rules as functions.
The same answers sooner: read `exactness` for when a float may stand for an integer, then `blas`.
"""

from tinyquant.engines import blas as _blas  # noqa: F401
from tinyquant.engines import dialects as _dialects  # noqa: F401
