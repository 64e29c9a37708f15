/* CONCATENATION, PAD, PADV2, TRANSPOSE: codes are moved, not computed. */

typedef struct {
    int32_t count, outer; /* inputs; runs of each */
    const int32_t *length; /* cells in a run of each input */
    int32_t act_min, act_max;
} tq_concatenation_t;

typedef struct {
    int32_t cells, rank;
    const int32_t *shape; /* of the output */
    const int32_t *before, *in_shape; /* cells of padding in front, cells of the input, along each axis */
    int32_t fill;
} tq_pad_t;

typedef struct {
    int32_t cells, rank;
    const int32_t *shape, *stride; /* of the output; where its neighbours lie in the input */
} tq_transpose_t;

void tq_concatenation(const int8_t *const *xs, const tq_concatenation_t *p, int8_t *y);
void tq_pad(const int8_t *x, const tq_pad_t *p, int8_t *y);
void tq_transpose(const int8_t *x, const tq_transpose_t *p, int8_t *y);
