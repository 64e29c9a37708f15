/* ---- exp, 1/(1 + a) ----------------------------------------------------------------------------------------- */

int32_t tq_saturate(int64_t x)
{
    return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x;
}

/* exp(t) for t in [-1/4, 0), Q0.31: a Taylor polynomial of degree 4 around -1/8. */
static int32_t tq_exp_quarter(int32_t t)
{
    const int32_t exp_minus_eighth = 1895147668, third = 715827883;
    const int32_t x = t + ((int32_t)1 << 28);
    const int32_t x2 = tq_high_mul(x, x);
    const int32_t x3 = tq_high_mul(x2, x);
    const int32_t x4 = tq_high_mul(x2, x2);
    const int32_t tail = tq_rounding_shift(tq_high_mul(tq_rounding_shift(x4, 2) + x3, third) + x2, 1);
    return exp_minus_eighth + tq_high_mul(exp_minus_eighth, x + tail);
}

/* exp(a) for a <= 0 in Q(integer_bits), as Q0.31: a polynomial for the remainder, a factor for each quarter's digit. */
int32_t tq_exp_negative(int32_t a, int32_t integer_bits)
{
    static const int32_t factor[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    const int32_t fraction_bits = 31 - integer_bits;
    const int32_t quarter = (int32_t)1 << (fraction_bits - 2);
    if (a == 0)
        return INT32_MAX;
    const int32_t remainder = (a & (quarter - 1)) - quarter;
    const int32_t multiple = remainder - a;
    int32_t result = tq_exp_quarter(tq_saturate((int64_t)remainder * ((int64_t)1 << integer_bits)));
    for (int32_t k = 0; k < integer_bits + 2; k++)
        if (multiple >> (fraction_bits + k - 2) & 1)
            result = tq_high_mul(result, factor[k]);
    return result;
}

/* 2 / (1 + a) in Q2.29 for a in [0, 1) Q0.31: three Newton steps from the best straight line. */
int32_t tq_newton_reciprocal(int32_t a)
{
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) >> 1);
    int32_t x = 1515870810 + tq_high_mul(half_denominator, -1010580540);
    for (int step = 0; step < 3; step++) {
        const int32_t error = ((int32_t)1 << 29) - tq_high_mul(half_denominator, x);
        x += tq_saturate((int64_t)tq_high_mul(x, error) * 4);
    }
    return x;
}
