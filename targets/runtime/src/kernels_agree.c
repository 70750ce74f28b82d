/* kernels_agree.c - trust no CPU flag: run each fast kernel beside its definition, once.
 *
 * An odd number of tiles and of 16-column steps, more than one int16 block, every byte a weight can
 * have; then the extremes, where a sum that is too narrow would wrap.
 */
#include "kernels.h"
#include "memory.h"

/* Rows of tiles, the same in every packed layout, begin one step of 16 columns after each other:
 * they share bytes, which saves stack. */
enum { K = 592, STRIDE = 4 * 16, MOST_TILES = 3, W_BYTES = 4 * K + (MOST_TILES - 1) * STRIDE };
enum { P2R_N = 3 * 16, B1R_N = 2 * 32, Q4R_N = 3 * 8, MOST_N = B1R_N };

static uint8_t next_byte(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint8_t)(*state >> 24);
}

static void fill(uint8_t *bytes, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = next_byte(&seed);
}

/* All packed layouts have kernels of one type. */
static int packed_agrees(bitx_gemv_s32_s8_p2r_fn kernel, bitx_gemv_s32_s8_p2r_fn definition,
                         size_t n, const int8_t *x, const uint8_t *w)
{
    int32_t y[MOST_N], expected[MOST_N];
    kernel(y, x, w, n, K, STRIDE);
    definition(expected, x, w, n, K, STRIDE);
    return bitx_same(y, expected, n * sizeof *y);
}

/* Fewer columns than a multiple of 16, and rows that begin anywhere. */
static int s8_agrees(bitx_gemv_s32_s8_s8_fn kernel, const int8_t *x, const int8_t *w)
{
    enum { ODD_N = 5, ODD_K = 197 };
    int32_t y[ODD_N], expected[ODD_N];
    kernel(y, x, w, ODD_N, ODD_K);
    bitx_gemv_s32_s8_s8_scalar(expected, x, w, ODD_N, ODD_K);
    return bitx_same(y, expected, sizeof y);
}

static int all_agree(const bitx_kernels *kernels, const int8_t *x, const uint8_t *w)
{
    return packed_agrees(kernels->gemv_s32_s8_p2r, bitx_gemv_s32_s8_p2r_scalar, P2R_N, x, w) &&
           packed_agrees(kernels->gemv_s32_s8_b1r, bitx_gemv_s32_s8_b1r_scalar, B1R_N, x, w) &&
           packed_agrees(kernels->gemv_s32_s8_q4r, bitx_gemv_s32_s8_q4r_scalar, Q4R_N, x, w) &&
           s8_agrees(kernels->gemv_s32_s8_s8, x, (const int8_t *)w);
}

int bitx_kernels_agree(const bitx_kernels *kernels)
{
    static const uint8_t extremes[] = {0x80, 0x7f, 0xff, 0x00};
    int8_t x[K];
    uint8_t w[W_BYTES];

    if (kernels->isa == BITX_ISA_SCALAR) return 1;
    fill((uint8_t *)x, sizeof x, 1);
    fill(w, sizeof w, 2);
    int agree = all_agree(kernels, x, w);
    for (size_t i = 0; agree && i < 2 * sizeof extremes; i++) {
        __builtin_memset(x, i < sizeof extremes ? -128 : 127, sizeof x);
        __builtin_memset(w, extremes[i % sizeof extremes], sizeof w);
        agree = all_agree(kernels, x, w);
    }
    return agree;
}
