/* CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV. Images lie as [batch, height, width, channels]. */

typedef struct {
    int32_t batch, in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width, kernel_depth; /* depth: input channels of a group; 1 for depthwise */
    int32_t stride_y, stride_x, dilation_y, dilation_x;
    int32_t top, left; /* cells of padding before the image (TRANSPOSE_CONV: cut off the output) */
    int32_t in_zero, out_zero, act_min, act_max;
    const int8_t *weight;
    const int32_t *bias; /* 0 where there is none */
    const int32_t *multiplier, *shift; /* one an output channel */
} tq_convolution_t;

void tq_conv_2d(const int8_t *x, const tq_convolution_t *p, int8_t *y);
void tq_depthwise_conv_2d(const int8_t *x, const tq_convolution_t *p, int8_t *y);
void tq_transpose_conv(const int8_t *x, const tq_convolution_t *p, int8_t *y);
