/* ADD, SUB, MUL: two inputs, broadcast to the output's shape by strides. */

typedef struct {
    int32_t cells, rank;
    const int32_t *shape, *stride1, *stride2;
    int32_t zero1, multiplier1, shift1; /* to the common scale; MUL has none */
    int32_t zero2, multiplier2, shift2;
    int32_t out_zero, multiplier, shift, act_min, act_max;
} tq_binary_t;

void tq_add(const int8_t *x1, const int8_t *x2, const tq_binary_t *p, int8_t *y);
void tq_sub(const int8_t *x1, const int8_t *x2, const tq_binary_t *p, int8_t *y);
void tq_mul(const int8_t *x1, const int8_t *x2, const tq_binary_t *p, int8_t *y);
