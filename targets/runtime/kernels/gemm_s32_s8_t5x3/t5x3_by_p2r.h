/* t5x3_by_p2r.h - what the fast variants share: some weights are packed again, in layout p2r, and
 * serve all columns. */
#ifndef BITX_T5X3_BY_P2R_H
#define BITX_T5X3_BY_P2R_H

#include "../gemm_s32_s8_p2r/gemm_s32_s8_p2r.h"
#include "../pack_p2r_t5x3/pack_p2r_t5x3.h"

/* Rows and columns of W that are packed at a time, and columns of Y that wait: 16 KiB in all. */
enum { BITX_P2R_ROWS = 48, BITX_P2R_DEPTH = 864, BITX_P2R_PANEL = 32 };

static inline void bitx_add_four(int32_t *restrict y, const int32_t *restrict sums, int is_first)
{
    for (size_t i = 0; i < 4; i++)
        y[i] = is_first ? sums[i] : y[i] + sums[i];
}

/* Sums of `rows` rows, as the fields of p2r have them, go to y or are added to it. */
static inline void bitx_add_p2r_sums(int32_t *restrict y, const int32_t *restrict sums, size_t rows,
                                     int is_first)
{
    for (size_t q = 0; q < rows / 4; q++)
        bitx_add_four(y + 4 * q, sums + 4 * bitx_p2r_field(q), is_first);
}

static inline void bitx_gemm_t5x3_by_p2r(int32_t *restrict y, size_t y_stride,
                                         const int8_t *restrict x, size_t x_stride, size_t columns,
                                         const uint8_t *restrict w, size_t n, size_t k,
                                         size_t stride, bitx_pack_p2r_t5x3_fn pack,
                                         bitx_gemm_s32_s8_p2r_fn gemm)
{
    _Alignas(32) uint8_t p2r[BITX_P2R_ROWS / 4 * BITX_P2R_DEPTH];
    int32_t sums[BITX_P2R_PANEL * BITX_P2R_ROWS];

    for (size_t row = 0; row < n; row += BITX_P2R_ROWS, w += 4 * stride)
        for (size_t i = 0; i < k; i += BITX_P2R_DEPTH) {
            const size_t rows = n - row < BITX_P2R_ROWS ? n - row : BITX_P2R_ROWS;
            const size_t padded = (rows + 15) / 16 * 16;
            const size_t depth = k - i < BITX_P2R_DEPTH ? k - i : BITX_P2R_DEPTH;
            pack(p2r, w + i / 32 * 80, rows / 12, depth, stride);
            for (size_t t = 0; t < columns; t += BITX_P2R_PANEL) {
                const size_t left = columns - t,
                             width = left < BITX_P2R_PANEL ? left : BITX_P2R_PANEL;
                gemm(sums, padded, x + t * x_stride + i, x_stride, width, p2r, padded, depth,
                     4 * depth);
                for (size_t c = 0; c < width; c++)
                    bitx_add_p2r_sums(y + (t + c) * y_stride + row, sums + c * padded, rows,
                                      i == 0);
            }
        }
}

#endif /* BITX_T5X3_BY_P2R_H */
