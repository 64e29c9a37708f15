"""Other ways to run an integer graph, which register themselves with `tinyquant.integer` when this room is imported.

Read `dialects` for the rules in which real runtimes differ, and `dialect_arithmetic` for those rules as functions.
"""

from tinyquant.engines import dialects as _dialects  # noqa: F401
