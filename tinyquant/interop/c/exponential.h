/* exp and 1/(1 + a) with integers. Qm.n: a number of m bits before the point and n = 31 - m after. */

int32_t tq_saturate(int64_t x);
int32_t tq_exp_negative(int32_t a, int32_t integer_bits);
int32_t tq_newton_reciprocal(int32_t a);
