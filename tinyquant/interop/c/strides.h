/* An array as axes: `shape` cells along each, `stride` cells apart; stride 0 reads the same cell again. */

int32_t tq_offset(int32_t index, int32_t rank, const int32_t *shape, const int32_t *stride);
