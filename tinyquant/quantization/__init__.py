"""The bridge from float to integers: capture, calibrate, quantize, train, convert.

Read in the order of the data: `capture` (module -> graph), `statistics` and `calibrate` (what was seen),
`schemes` (what to make of it), `fuse` and `groups` (the graph that integers run), `weights`,
`batch_norm` and `fake_quant` (the quantizers), `model` (all of it, trainable), `prepare`
(`quantize_model`) and `convert`.
"""
