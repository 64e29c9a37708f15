"""The room of views: what a network costs, how sure its accuracy is, and how one number came about.

Nothing here computes what a lane or a bridge already computes; it looks at their results. `explain` steps through one
output element, `cost` counts bytes, multiply-accumulates and memory, `accuracy` puts intervals on accuracies.
"""
