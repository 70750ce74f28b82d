/* kernels_agree.c - trust no CPU flag: run each fast kernel beside its definition, once.
 *
 * An odd number of 16-row tiles and of 16-column steps, more than one int16 block, every byte a
 * weight can have; then the extremes, where a sum that is too narrow would wrap.
 */
#include "kernels.h"
#include "memory.h"

enum { N = 48, K = 208, W_BYTES = N * K / 4 };

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

static int p2r_agrees(bitx_gemv_s32_s8_p2r_fn kernel, const int8_t *x, const uint8_t *w)
{
    int32_t y[N], expected[N];
    kernel(y, x, w, N, K);
    bitx_gemv_s32_s8_p2r_scalar(expected, x, w, N, K);
    return bitx_same(y, expected, sizeof y);
}

/* Fewer columns than a multiple of 16, and rows that begin anywhere. */
static int s8_agrees(bitx_gemv_s32_s8_s8_fn kernel, const int8_t *x, const int8_t *w)
{
    enum { ODD_N = 5, ODD_K = K - 11 };
    int32_t y[ODD_N], expected[ODD_N];
    kernel(y, x, w, ODD_N, ODD_K);
    bitx_gemv_s32_s8_s8_scalar(expected, x, w, ODD_N, ODD_K);
    return bitx_same(y, expected, sizeof y);
}

int bitx_kernels_agree(const bitx_kernels *kernels)
{
    static const uint8_t extremes[] = {0x80, 0x7f, 0xff, 0x00};
    int8_t x[K];
    uint8_t w[W_BYTES];

    if (kernels->isa == BITX_ISA_SCALAR) return 1;
    fill((uint8_t *)x, sizeof x, 1);
    fill(w, sizeof w, 2);
    int agree = p2r_agrees(kernels->gemv_s32_s8_p2r, x, w) &&
                s8_agrees(kernels->gemv_s32_s8_s8, x, (const int8_t *)w);
    for (size_t i = 0; i < 2 * sizeof extremes; i++) {
        __builtin_memset(x, i < sizeof extremes ? -128 : 127, sizeof x);
        __builtin_memset(w, extremes[i % sizeof extremes], sizeof w);
        agree &= p2r_agrees(kernels->gemv_s32_s8_p2r, x, w) &
                 s8_agrees(kernels->gemv_s32_s8_s8, x, (const int8_t *)w);
    }
    return agree;
}
