/* AVERAGE_POOL_2D, MAX_POOL_2D. Cells outside the image do not count. */

typedef struct {
    int32_t batch, in_height, in_width, channels;
    int32_t out_height, out_width;
    int32_t window_height, window_width, stride_y, stride_x;
    int32_t top, left; /* cells of padding before the image */
    int32_t act_min, act_max;
} tq_pool_t;

void tq_average_pool_2d(const int8_t *x, const tq_pool_t *p, int8_t *y);
void tq_max_pool_2d(const int8_t *x, const tq_pool_t *p, int8_t *y);
