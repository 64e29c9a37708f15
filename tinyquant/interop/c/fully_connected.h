/* FULLY_CONNECTED: a matrix times every row. */

typedef struct {
    int32_t rows, depth, units;
    int32_t in_zero, out_zero, act_min, act_max;
    const int8_t *weight; /* [units][depth] */
    const int32_t *bias; /* 0 where there is none */
    const int32_t *multiplier, *shift; /* one a unit */
} tq_fully_connected_t;

void tq_fully_connected(const int8_t *x, const tq_fully_connected_t *p, int8_t *y);
