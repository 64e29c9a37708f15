/* ---- ADD, SUB, MUL ------------------------------------------------------------------------------------------ */

static int32_t tq_first(const int8_t *x1, const tq_binary_t *p, int32_t i)
{
    return x1[tq_offset(i, p->rank, p->shape, p->stride1)] - p->zero1;
}

static int32_t tq_second(const int8_t *x2, const tq_binary_t *p, int32_t i)
{
    return x2[tq_offset(i, p->rank, p->shape, p->stride2)] - p->zero2;
}

/* A code less its zero point on the scale that both inputs share, with 20 bits after the point. */
static int32_t tq_common(int32_t centred, int32_t multiplier, int32_t shift)
{
    return tq_rescale(centred * ((int32_t)1 << 20), multiplier, shift);
}

static int8_t tq_binary_code(const tq_binary_t *p, int32_t value)
{
    return tq_clamp((int64_t)tq_rescale(value, p->multiplier, p->shift) + p->out_zero, p->act_min, p->act_max);
}

void tq_add(const int8_t *x1, const int8_t *x2, const tq_binary_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++) {
        const int32_t first = tq_common(tq_first(x1, p, i), p->multiplier1, p->shift1);
        const int32_t second = tq_common(tq_second(x2, p, i), p->multiplier2, p->shift2);
        y[i] = tq_binary_code(p, first + second);
    }
}

void tq_sub(const int8_t *x1, const int8_t *x2, const tq_binary_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++) {
        const int32_t first = tq_common(tq_first(x1, p, i), p->multiplier1, p->shift1);
        const int32_t second = tq_common(tq_second(x2, p, i), p->multiplier2, p->shift2);
        y[i] = tq_binary_code(p, first - second);
    }
}

void tq_mul(const int8_t *x1, const int8_t *x2, const tq_binary_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++)
        y[i] = tq_binary_code(p, tq_first(x1, p, i) * tq_second(x2, p, i));
}
