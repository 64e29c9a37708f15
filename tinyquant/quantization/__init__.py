"""The bridge from float to integers: capture, calibrate, quantize, train, convert.

Read in the order of the data: `capture` (module -> graph), `statistics` and `calibrate` (what was seen),
`schemes` (what to make of it), `fuse` and `groups` (the graph that integers run), `range_rules`, `ranges` and `weights`
(what a quantizer is made of), `batch_norm` and `fake_quant` (the quantizers), `model` (all of it, trainable), `prepare`
(`quantize_model`) and `convert`. Better roundings without training, a file each: `folding` and `equalize` on the float
model, `bias_correction`, `gram_rounding` and `adaround` on the quantized one; `weight_only` needs no data.

What training may do to the quantizers: `training_rules` (the choices, as data), `surrogates` (gradients of a rounding),
`moving_range` and `learned_scale` (ranges that move), `reestimate` (batch norms measured again), `distillation` (a loss),
`oscillation` (who watches the codes).
"""
