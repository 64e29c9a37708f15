"""The room of views: what a network costs, how sure its accuracy is, and how one number came about.

Nothing here computes what a lane or a bridge already computes; it looks at their results.

    one number           `explain` steps through one output element
    two networks         `compare` holds them node by node; `partings` says why two codes differ, `metrics` by how much;
                         `exactness` trains with plain and with exact fake-quant
    the error's sources  `error_budget` (on the switches of `error_sources`), `sensitivity`, `resilience`
    few bytes            `mixed_precision` (on the knapsack of `bit_allocation`)
    cost                 `cost` counts bytes, multiply-accumulates and memory, `footprint` tensor by tensor; `latency` is numpy's
    accuracy             `accuracy` puts intervals on accuracies
"""
