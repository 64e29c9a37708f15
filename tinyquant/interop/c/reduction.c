/* ---- MEAN, SUM ---------------------------------------------------------------------------------------------- */

void tq_reduce_sum(const int8_t *x, const tq_reduction_t *p, int8_t *y)
{
    for (int32_t i = 0; i < p->cells; i++) {
        const int8_t *first = x + tq_offset(i, p->rank, p->shape, p->stride);
        uint32_t sum = 0;
        for (int32_t k = 0; k < p->count; k++)
            sum += (uint32_t)(first[tq_offset(k, p->reduced_rank, p->reduced_shape, p->reduced_stride)] - p->in_zero);
        const int32_t scaled = tq_rescale(tq_int32(sum), p->multiplier, p->shift);
        y[i] = tq_clamp((int64_t)scaled + p->out_zero, p->act_min, p->act_max);
    }
}
