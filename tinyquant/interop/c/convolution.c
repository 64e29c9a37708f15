/* ---- CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV -------------------------------------------------------------- */

/* A cell outside the image holds real 0 and adds nothing. */
static int tq_inside(const tq_convolution_t *p, int32_t iy, int32_t ix)
{
    return iy >= 0 && iy < p->in_height && ix >= 0 && ix < p->in_width;
}

static int8_t tq_convolution_code(const tq_convolution_t *p, int32_t channel, uint32_t sum)
{
    const uint32_t bias = p->bias ? (uint32_t)p->bias[channel] : 0;
    const int32_t scaled = tq_rescale(tq_int32(sum + bias), p->multiplier[channel], p->shift[channel]);
    return tq_clamp((int64_t)scaled + p->out_zero, p->act_min, p->act_max);
}

/* weight[out_channels][kernel_height][kernel_width][kernel_depth] */
void tq_conv_2d(const int8_t *x, const tq_convolution_t *p, int8_t *y)
{
    const int32_t outputs_a_group = p->out_channels / (p->in_channels / p->kernel_depth);
    for (int32_t n = 0; n < p->batch; n++)
    for (int32_t oy = 0; oy < p->out_height; oy++)
    for (int32_t ox = 0; ox < p->out_width; ox++)
    for (int32_t o = 0; o < p->out_channels; o++) {
        const int32_t first = o / outputs_a_group * p->kernel_depth;
        uint32_t sum = 0;
        for (int32_t ky = 0; ky < p->kernel_height; ky++)
        for (int32_t kx = 0; kx < p->kernel_width; kx++) {
            const int32_t iy = oy * p->stride_y + ky * p->dilation_y - p->top;
            const int32_t ix = ox * p->stride_x + kx * p->dilation_x - p->left;
            if (!tq_inside(p, iy, ix))
                continue;
            const int8_t *cell = x + ((n * p->in_height + iy) * p->in_width + ix) * p->in_channels + first;
            const int8_t *w = p->weight + ((o * p->kernel_height + ky) * p->kernel_width + kx) * p->kernel_depth;
            for (int32_t c = 0; c < p->kernel_depth; c++)
                sum += (uint32_t)(w[c] * (cell[c] - p->in_zero));
        }
        *y++ = tq_convolution_code(p, o, sum);
    }
}

/* weight[kernel_height][kernel_width][out_channels] */
void tq_depthwise_conv_2d(const int8_t *x, const tq_convolution_t *p, int8_t *y)
{
    const int32_t outputs_a_channel = p->out_channels / p->in_channels;
    for (int32_t n = 0; n < p->batch; n++)
    for (int32_t oy = 0; oy < p->out_height; oy++)
    for (int32_t ox = 0; ox < p->out_width; ox++)
    for (int32_t o = 0; o < p->out_channels; o++) {
        uint32_t sum = 0;
        for (int32_t ky = 0; ky < p->kernel_height; ky++)
        for (int32_t kx = 0; kx < p->kernel_width; kx++) {
            const int32_t iy = oy * p->stride_y + ky * p->dilation_y - p->top;
            const int32_t ix = ox * p->stride_x + kx * p->dilation_x - p->left;
            if (!tq_inside(p, iy, ix))
                continue;
            const int32_t cell = ((n * p->in_height + iy) * p->in_width + ix) * p->in_channels;
            const int8_t w = p->weight[(ky * p->kernel_width + kx) * p->out_channels + o];
            sum += (uint32_t)(w * (x[cell + o / outputs_a_channel] - p->in_zero));
        }
        *y++ = tq_convolution_code(p, o, sum);
    }
}

/* weight[out_channels][kernel_height][kernel_width][in_channels]; each output cell gathers what lands on it. */
void tq_transpose_conv(const int8_t *x, const tq_convolution_t *p, int8_t *y)
{
    for (int32_t n = 0; n < p->batch; n++)
    for (int32_t oy = 0; oy < p->out_height; oy++)
    for (int32_t ox = 0; ox < p->out_width; ox++)
    for (int32_t o = 0; o < p->out_channels; o++) {
        uint32_t sum = 0;
        for (int32_t ky = 0; ky < p->kernel_height; ky++)
        for (int32_t kx = 0; kx < p->kernel_width; kx++) {
            const int32_t down = oy + p->top - ky;
            const int32_t across = ox + p->left - kx;
            if (down < 0 || across < 0 || down % p->stride_y || across % p->stride_x)
                continue;
            const int32_t iy = down / p->stride_y;
            const int32_t ix = across / p->stride_x;
            if (!tq_inside(p, iy, ix))
                continue;
            const int8_t *cell = x + ((n * p->in_height + iy) * p->in_width + ix) * p->in_channels;
            const int8_t *w = p->weight + ((o * p->kernel_height + ky) * p->kernel_width + kx) * p->in_channels;
            for (int32_t c = 0; c < p->in_channels; c++)
                sum += (uint32_t)(w[c] * (cell[c] - p->in_zero));
        }
        *y++ = tq_convolution_code(p, o, sum);
    }
}
