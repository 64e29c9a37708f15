/* RELU, RELU6, RELU_N1_TO_1, LEAKY_RELU, QUANTIZE of codes: one code at a time. */

typedef struct {
    int32_t cells;
    int32_t in_zero, out_zero, multiplier, shift, act_min, act_max;
    int32_t multiplier_below, shift_below; /* LEAKY_RELU: for what lies below real 0 */
} tq_pointwise_t;

void tq_rescale_codes(const int8_t *x, const tq_pointwise_t *p, int8_t *y);
void tq_clamp_codes(const int8_t *x, const tq_pointwise_t *p, int8_t *y);
void tq_leaky_relu(const int8_t *x, const tq_pointwise_t *p, int8_t *y);
