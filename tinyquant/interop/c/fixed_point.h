/* Fixed point: a real number is multiplier * 2^(shift - 31), so that multiplying by it takes integers alone. */

int32_t tq_int32(uint32_t bits);
int64_t tq_floor_shift(int64_t x, int32_t bits);
int32_t tq_high_mul(int32_t a, int32_t b);
int32_t tq_rounding_shift(int32_t x, int32_t bits);
int32_t tq_rescale(int32_t x, int32_t multiplier, int32_t shift);
int8_t tq_clamp(int64_t x, int32_t low, int32_t high);
