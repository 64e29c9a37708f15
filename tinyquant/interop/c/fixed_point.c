/* ---- Fixed point -------------------------------------------------------------------------------------------- */

/* The int32 with these bits. Sums are made in uint32_t, where running over is defined, and read back here. */
int32_t tq_int32(uint32_t bits)
{
    return bits <= (uint32_t)INT32_MAX ? (int32_t)bits : -(int32_t)(~bits) - 1;
}

/* floor(x / 2^bits); C leaves the right shift of a negative number open. */
int64_t tq_floor_shift(int64_t x, int32_t bits)
{
    return x >= 0 ? x >> bits : ~(~x >> bits);
}

/* floor((a * b + 2^30) / 2^31): a product of fractions of 2^31, ties up. */
int32_t tq_high_mul(int32_t a, int32_t b)
{
    const int64_t high = tq_floor_shift((int64_t)a * b + ((int64_t)1 << 30), 31);
    return high > INT32_MAX ? INT32_MAX : (int32_t)high;
}

/* x / 2^bits to the nearest, ties away from zero; bits from 0 to 31. */
int32_t tq_rounding_shift(int32_t x, int32_t bits)
{
    const int64_t half = bits > 0 ? (int64_t)1 << (bits - 1) : 0;
    return (int32_t)(x >= 0 ? (x + half) >> bits : -((-(int64_t)x + half) >> bits));
}

/* x * multiplier * 2^(shift - 31), rounded twice; what leaves int32 on the left wraps. */
int32_t tq_rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return tq_rounding_shift(tq_high_mul(tq_int32((uint32_t)x << left), multiplier), right);
}

/* A code: x, not below low, not above high. */
int8_t tq_clamp(int64_t x, int32_t low, int32_t high)
{
    const int64_t raised = x < low ? low : x;
    return (int8_t)(raised > high ? high : raised);
}
