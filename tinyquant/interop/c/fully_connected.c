/* ---- FULLY_CONNECTED ---------------------------------------------------------------------------------------- */

void tq_fully_connected(const int8_t *x, const tq_fully_connected_t *p, int8_t *y)
{
    for (int32_t row = 0; row < p->rows; row++)
    for (int32_t unit = 0; unit < p->units; unit++) {
        const int8_t *cell = x + row * p->depth;
        const int8_t *w = p->weight + unit * p->depth;
        uint32_t sum = p->bias ? (uint32_t)p->bias[unit] : 0;
        for (int32_t d = 0; d < p->depth; d++)
            sum += (uint32_t)(w[d] * (cell[d] - p->in_zero));
        const int32_t scaled = tq_rescale(tq_int32(sum), p->multiplier[unit], p->shift[unit]);
        *y++ = tq_clamp((int64_t)scaled + p->out_zero, p->act_min, p->act_max);
    }
}
