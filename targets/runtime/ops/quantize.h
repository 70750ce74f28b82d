/* quantize.h - what QuantizeRows and its kin share. */
#ifndef BITX_QUANTIZE_H
#define BITX_QUANTIZE_H

#include "../src/session.h"
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

/* Whether x is integers, or every float of it finite. */
static inline int bitx_is_finite(const bitx_matrix *x)
{
    if (x->dtype != BITX_F32) return 1;
    for (uint32_t t = 0; t < x->rows; t++)
        if (bitx_largest_magnitude((const float *)bitx_row(x, t), x->columns) >= BITX_INFINITY_BITS)
            return 0;
    return 1;
}

/* Codes of some columns that share a scale.  When x is not finite the scale is 0, as no other is.
 */
static inline void bitx_quantize_columns(int8_t *q, float *scale, const float *x, size_t columns)
{
    const uint32_t largest = bitx_largest_magnitude(x, columns);
    *scale = largest < BITX_INFINITY_BITS ? bitx_quantize_scale(largest) : 0.0f;
    if (*scale > 0.0f) bitx_quantize(q, x, *scale, columns);
}

/* The task for every row; then an error if it left a scale at 0. */
static inline bitx_status bitx_quantize_all(const bitx_session *session, bitx_row_task task,
                                            const void *argument, const bitx_matrix *scales)
{
    bitx_parallel_rows(session, task, argument, scales->rows);
    for (uint32_t t = 0; t < scales->rows; t++) {
        const float *scale = (const float *)bitx_row(scales, t);
        for (uint32_t g = 0; g < scales->columns; g++)
            if (scale[g] == 0.0f) return BITX_E_NOT_FINITE;
    }
    return BITX_OK;
}

#endif /* BITX_QUANTIZE_H */
