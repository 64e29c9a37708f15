/* SOFTMAX over rows of fewer than 512 classes, to scale 1/256, zero point -128. */

typedef struct {
    int32_t rows, classes;
    int32_t multiplier, shift; /* differences of codes as Q5.26 */
    int32_t difference_min; /* below it an exponential is 0 */
} tq_softmax_t;

void tq_softmax(const int8_t *x, const tq_softmax_t *p, int8_t *y);
