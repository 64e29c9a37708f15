/* ---- SOFTMAX ------------------------------------------------------------------------------------------------ */

/* exp(beta S_x difference) in Q0.31, for a difference of at most 0. */
static int32_t tq_exponential(const tq_softmax_t *p, int32_t difference)
{
    if (difference < p->difference_min)
        return 0;
    return tq_exp_negative(tq_high_mul((int32_t)(difference * ((int64_t)1 << p->shift)), p->multiplier), 5);
}

void tq_softmax(const int8_t *x, const tq_softmax_t *p, int8_t *y)
{
    for (int32_t row = 0; row < p->rows; row++, x += p->classes, y += p->classes) {
        int32_t largest = -128, sum = 0, headroom = 0;
        for (int32_t c = 0; c < p->classes; c++)
            largest = x[c] > largest ? x[c] : largest;
        for (int32_t c = 0; c < p->classes; c++)
            sum += tq_rounding_shift(tq_exponential(p, x[c] - largest), 12);
        /* The division is a multiplication by the reciprocal of the sum, brought into [1, 2). */
        while (((uint32_t)sum << headroom) < (uint32_t)1 << 31)
            headroom++;
        const int32_t fraction = (int32_t)(((uint32_t)sum << headroom) - ((uint32_t)1 << 31));
        const int32_t inverse = tq_saturate((int64_t)tq_newton_reciprocal(fraction) * 2);
        for (int32_t c = 0; c < p->classes; c++) {
            const int32_t share = tq_high_mul(inverse, tq_exponential(p, x[c] - largest));
            y[c] = tq_clamp((int64_t)tq_rounding_shift(share, 35 - headroom) - 128, -128, 127);
        }
    }
}
