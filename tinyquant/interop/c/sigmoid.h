/* LOGISTIC (to scale 1/256, zero point -128) and TANH (to scale 1/128, zero point 0). */

typedef struct {
    int32_t cells;
    int32_t in_zero, multiplier, shift; /* the input as Q4.27 */
    int32_t radius; /* from here on the input would not fit */
} tq_sigmoid_t;

void tq_logistic(const int8_t *x, const tq_sigmoid_t *p, int8_t *y);
void tq_tanh(const int8_t *x, const tq_sigmoid_t *p, int8_t *y);
