/* quantize.h - what QuantizeRows and its kin share. */
#ifndef BITX_QUANTIZE_H
#define BITX_QUANTIZE_H

#include "../src/ops.h"
#include "row_math.h"

/* Whether q are int8 codes of x, a row for a row. */
static inline int bitx_fits_codes(const bitx_matrix *x, const bitx_matrix *q)
{
    return bitx_is_value(x, BITX_F32) && bitx_is_value(q, BITX_S8) && q->columns == x->columns &&
           q->columns <= BITX_MOST_COLUMNS && bitx_rows_fit(x, q);
}

/* Whether another output has the rows of q. */
static inline int bitx_goes_with(const bitx_matrix *other, const bitx_matrix *q, uint32_t dtype,
                                 uint32_t columns)
{
    return bitx_is_value(other, dtype) && other->columns == columns &&
           other->row_kind == q->row_kind && other->rows == q->rows;
}

/* Kernels read past the last column. */
static inline void bitx_zero_padding(const bitx_matrix *q, size_t row)
{
    const size_t bytes = q->columns;
    bitx_zero((uint8_t *)bitx_row(q, row) + bytes, q->stride - bytes);
}

/* Codes of some columns that share a scale.  0 when x is not finite. */
static inline int bitx_quantize_columns(int8_t *q, float *scale, const float *x, size_t columns)
{
    const uint32_t largest = bitx_largest_magnitude(x, columns);
    if (largest >= BITX_INFINITY_BITS) return 0;
    *scale = bitx_quantize_scale(largest);
    for (size_t i = 0; i < columns; i++)
        q[i] = bitx_quantize(x[i], *scale);
    return 1;
}

#endif /* BITX_QUANTIZE_H */
