/* MEAN, SUM: the multiplier of MEAN holds the division by the count. */

typedef struct {
    int32_t cells, rank; /* of the output */
    const int32_t *shape, *stride;
    int32_t count, reduced_rank; /* cells added into one */
    const int32_t *reduced_shape, *reduced_stride;
    int32_t in_zero, out_zero, multiplier, shift, act_min, act_max;
} tq_reduction_t;

void tq_reduce_sum(const int8_t *x, const tq_reduction_t *p, int8_t *y);
