/* ---- Strides ------------------------------------------------------------------------------------------------ */

/* Where the index-th cell in C order lies. */
int32_t tq_offset(int32_t index, int32_t rank, const int32_t *shape, const int32_t *stride)
{
    int32_t offset = 0;
    for (int32_t axis = rank - 1; axis >= 0; axis--) {
        offset += index % shape[axis] * stride[axis];
        index /= shape[axis];
    }
    return offset;
}
