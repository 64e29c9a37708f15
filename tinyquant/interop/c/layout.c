/* ---- CONCATENATION, PAD, PADV2, TRANSPOSE ------------------------------------------------------------------- */

void tq_concatenation(const int8_t *const *xs, const tq_concatenation_t *p, int8_t *y)
{
    for (int32_t run = 0; run < p->outer; run++)
    for (int32_t k = 0; k < p->count; k++)
    for (int32_t i = 0; i < p->length[k]; i++)
        *y++ = tq_clamp(xs[k][run * p->length[k] + i], p->act_min, p->act_max);
}

void tq_pad(const int8_t *x, const tq_pad_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++) {
        int32_t index = i, offset = 0, stride = 1, inside = 1;
        for (int32_t axis = p->rank - 1; axis >= 0; axis--) {
            const int32_t place = index % p->shape[axis] - p->before[axis];
            index /= p->shape[axis];
            inside = inside && place >= 0 && place < p->in_shape[axis];
            if (!inside)
                break;
            offset += place * stride;
            stride *= p->in_shape[axis];
        }
        y[i] = inside ? x[offset] : (int8_t)p->fill;
    }
}

void tq_transpose(const int8_t *x, const tq_transpose_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++)
        y[i] = x[tq_offset(i, p->rank, p->shape, p->stride)];
}
