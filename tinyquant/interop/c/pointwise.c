/* ---- RELU, RELU6, RELU_N1_TO_1, LEAKY_RELU, QUANTIZE -------------------------------------------------------- */

/* RELU, RELU_N1_TO_1 and QUANTIZE: from one scale to another; the activation is all in the clamp. */
void tq_rescale_codes(const int8_t *x, const tq_pointwise_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++) {
        const int32_t scaled = tq_rescale(x[i] - p->in_zero, p->multiplier, p->shift);
        y[i] = tq_clamp((int64_t)scaled + p->out_zero, p->act_min, p->act_max);
    }
}

/* RELU6: codes keep their scale. */
void tq_clamp_codes(const int8_t *x, const tq_pointwise_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++)
        y[i] = tq_clamp(x[i], p->act_min, p->act_max);
}

/* A negative slope multiplies by its magnitude, rounds, and turns the sign. */
void tq_leaky_relu(const int8_t *x, const tq_pointwise_t *p, int8_t *y)
{
    const int32_t magnitude = p->multiplier_below < 0 ? -p->multiplier_below : p->multiplier_below;
    for (int32_t i = 0; i < p->cells; i++) {
        const int32_t centred = x[i] - p->in_zero;
        int64_t scaled;
        if (centred >= 0)
            scaled = tq_rescale(centred, p->multiplier, p->shift);
        else
            scaled = tq_rescale(centred, magnitude, p->shift_below);
        if (centred < 0 && p->multiplier_below < 0)
            scaled = -scaled;
        y[i] = tq_clamp(scaled + p->out_zero, p->act_min, p->act_max);
    }
}
