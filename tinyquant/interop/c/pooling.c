/* ---- AVERAGE_POOL_2D, MAX_POOL_2D --------------------------------------------------------------------------- */

/* Sum, count and maximum of the window's cells inside the image, for one channel. */
static void tq_window(const int8_t *x, const tq_pool_t *p, int32_t n, int32_t oy, int32_t ox, int32_t c,
                      int32_t *sum, int32_t *count, int8_t *largest)
{
    *sum = 0;
    *count = 0;
    *largest = -128;
    for (int32_t ky = 0; ky < p->window_height; ky++)
    for (int32_t kx = 0; kx < p->window_width; kx++) {
        const int32_t iy = oy * p->stride_y + ky - p->top;
        const int32_t ix = ox * p->stride_x + kx - p->left;
        if (iy < 0 || iy >= p->in_height || ix < 0 || ix >= p->in_width)
            continue;
        const int8_t code = x[((n * p->in_height + iy) * p->in_width + ix) * p->channels + c];
        *sum += code;
        *count += 1;
        *largest = code > *largest ? code : *largest;
    }
}

/* The nearest code to the mean, ties away from code 0. */
void tq_average_pool_2d(const int8_t *x, const tq_pool_t *p, int8_t *y)
{
    for (int32_t n = 0; n < p->batch; n++)
    for (int32_t oy = 0; oy < p->out_height; oy++)
    for (int32_t ox = 0; ox < p->out_width; ox++)
    for (int32_t c = 0; c < p->channels; c++) {
        int32_t sum, count;
        int8_t largest;
        tq_window(x, p, n, oy, ox, c, &sum, &count, &largest);
        const int32_t mean = sum >= 0 ? (sum + count / 2) / count : -((-sum + count / 2) / count);
        *y++ = tq_clamp(mean, p->act_min, p->act_max);
    }
}

void tq_max_pool_2d(const int8_t *x, const tq_pool_t *p, int8_t *y)
{
    for (int32_t n = 0; n < p->batch; n++)
    for (int32_t oy = 0; oy < p->out_height; oy++)
    for (int32_t ox = 0; ox < p->out_width; ox++)
    for (int32_t c = 0; c < p->channels; c++) {
        int32_t sum, count;
        int8_t largest;
        tq_window(x, p, n, oy, ox, c, &sum, &count, &largest);
        *y++ = tq_clamp(largest, p->act_min, p->act_max);
    }
}
