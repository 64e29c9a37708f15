/* ---- LOGISTIC, TANH ----------------------------------------------------------------------------------------- */

/* 1 / (1 + exp(-a)), Q4.27 to Q0.31; the left half is one minus the right half. */
static int32_t tq_logistic_of(int32_t a)
{
    const int32_t positive = tq_saturate((int64_t)tq_newton_reciprocal(tq_exp_negative(a > 0 ? -a : a, 4)) * 2);
    return a == 0 ? (int32_t)1 << 30 : a > 0 ? positive : INT32_MAX - positive;
}

/* (1 - e) / (1 + e) with e = exp(-2 |a|): the same bits read as Q5.26 are twice the number. */
static int32_t tq_tanh_of(int32_t a)
{
    const int64_t inverse = tq_newton_reciprocal(tq_exp_negative(a > 0 ? -a : a, 5));
    const int32_t positive = tq_saturate((inverse - ((int64_t)1 << 29)) * 4);
    return a == 0 ? 0 : a > 0 ? positive : -positive;
}

void tq_logistic(const int8_t *x, const tq_sigmoid_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++) {
        const int32_t centred = x[i] - p->in_zero;
        if (centred <= -p->radius)
            y[i] = -128;
        else if (centred >= p->radius)
            y[i] = 127;
        else
            y[i] = tq_clamp(tq_rounding_shift(tq_logistic_of(tq_rescale(centred, p->multiplier, p->shift)), 23) - 128, -128, 127);
    }
}

void tq_tanh(const int8_t *x, const tq_sigmoid_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++) {
        const int32_t centred = x[i] - p->in_zero;
        if (centred <= -p->radius)
            y[i] = -128;
        else if (centred >= p->radius)
            y[i] = 127;
        else
            y[i] = tq_clamp(tq_rounding_shift(tq_tanh_of(tq_rescale(centred, p->multiplier, p->shift)), 24), -128, 127);
    }
}
