/* kernels_agree.c - trust no CPU flag: run each fast kernel beside its definition, once.
 *
 * An odd number of tiles and of 16-column steps, more than one int16 block, every byte a weight can
 * have; then the extremes, where a sum that is too narrow would wrap.
 */
#include "kernels.h"
#include "memory.h"
#include "ops.h"

/* Rows of tiles, the same in every packed layout, begin one step of 16 columns after each other:
 * they share bytes, which saves stack. */
enum { K = 592, STRIDE = 4 * 16, MOST_TILES = 3, W_BYTES = 4 * K + (MOST_TILES - 1) * STRIDE };
enum { X_BYTES = K + 8 * 16 };
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

/* An odd number of blocks of columns, the last one not whole; rows of x begin 16 after each other.
 * The first is taken alone too. */
static int p2b_agrees(const bitx_kernels *kernels, const int8_t *x, const uint8_t *w)
{
    enum { BLOCKS = 3, P2B_K = 24 * BLOCKS - 2, STEP = 16, ROWS = 2, W_STRIDE = 96 * BLOCKS };
    int32_t y[ROWS * P2R_N] = {0}, expected[ROWS * P2R_N] = {0};
    uint8_t tables[ROWS][512 * BLOCKS];
    if (kernels->tables_s8_p2b)
        for (size_t t = 0; t < ROWS; t++)
            kernels->tables_s8_p2b(tables[t], x + t * STEP, P2B_K);
    kernels->gemv_s32_s8_p2b(y, x, tables[0], w, P2R_N, P2B_K, W_STRIDE);
    kernels->gemm_s32_s8_p2b(y, P2R_N, x, STEP, tables[0], sizeof tables[0], ROWS, w, P2R_N, P2B_K,
                             W_STRIDE);
    bitx_gemv_s32_s8_p2b_scalar(expected, x, NULL, w, P2R_N, P2B_K, W_STRIDE);
    bitx_gemm_s32_s8_p2b_scalar(expected, P2R_N, x, STEP, NULL, 0, ROWS, w, P2R_N, P2B_K, W_STRIDE);
    return bitx_same(y, expected, sizeof y);
}

/* Three blocks of columns, the last one not whole. */
static int p16_agrees(const bitx_kernels *kernels, const int8_t *x, const uint8_t *w)
{
    enum { BLOCKS = 3, P16_N = 8 * 8, P16_K = 10 * BLOCKS - 3 };
    int32_t y[P16_N] = {0}, expected[P16_N] = {0};
    _Alignas(uint32_t) uint8_t tables[1024 * BLOCKS];
    if (kernels->tables_s8_p16) kernels->tables_s8_p16(tables, x, P16_K);
    kernels->gemv_s32_s8_p16(y, x, tables, w, P16_N, P16_K, 16 * BLOCKS);
    bitx_gemv_s32_s8_p16_scalar(expected, x, tables, w, P16_N, P16_K, 16 * BLOCKS);
    return bitx_same(y, expected, sizeof y);
}

/* Two rows, the second from column 16 on. */
static int p16_agrees_for_two(const bitx_kernels *kernels, const int8_t *x, const uint8_t *w)
{
    enum { BLOCKS = 2, P16_N = 8 * 4, P16_K = 10 * BLOCKS - 3 };
    int32_t y[2 * P16_N] = {0}, expected[2 * P16_N] = {0};
    _Alignas(uint32_t) uint8_t tables[2048 * BLOCKS];
    if (kernels->tables_s8_s8_p16) kernels->tables_s8_s8_p16(tables, x, 16, P16_K);
    kernels->gemm_s32_s8_p16(y, P16_N, x, 16, tables, w, P16_N, P16_K, 16 * BLOCKS);
    bitx_gemm_s32_s8_p16_scalar(expected, P16_N, x, 16, tables, w, P16_N, P16_K, 16 * BLOCKS);
    return bitx_same(y, expected, sizeof y);
}

/* Whole pairs of tiles and an odd one; then more columns than a kernel takes one by one, and more
 * rows than are packed at a time.  Rows of tiles and columns begin one step after each other. */
static int t5x3_agrees(const bitx_kernels *kernels, const int8_t *x, const uint8_t *w)
{
    enum { T5X3_N = 5 * 12, T5X3_K = 7 * 32, COLUMNS = 5, T5X3_STRIDE = 80 };
    int32_t y[COLUMNS * T5X3_N], expected[COLUMNS * T5X3_N];
    kernels->gemv_s32_s8_t5x3(y, x, w, T5X3_N, T5X3_K, T5X3_STRIDE);
    bitx_gemv_s32_s8_t5x3_scalar(expected, x, w, T5X3_N, T5X3_K, T5X3_STRIDE);
    if (!bitx_same(y, expected, T5X3_N * sizeof *y)) return 0;
    kernels->gemm_s32_s8_t5x3(y, T5X3_N, x, 32, COLUMNS, w, T5X3_N, T5X3_K, T5X3_STRIDE);
    bitx_gemm_s32_s8_t5x3_scalar(expected, T5X3_N, x, 32, COLUMNS, w, T5X3_N, T5X3_K, T5X3_STRIDE);
    return bitx_same(y, expected, sizeof y);
}

/* Columns begin one step of 16 after each other; 9 of them are panels of any kernel and a rest. */
static int gemm_agrees(bitx_gemm_s32_s8_p2r_fn kernel, const int8_t *x, const uint8_t *w)
{
    enum { COLUMNS = X_BYTES / 16 - K / 16 + 1 };
    int32_t y[COLUMNS * P2R_N], expected[COLUMNS * P2R_N];
    kernel(y, P2R_N, x, 16, COLUMNS, w, P2R_N, K, STRIDE);
    bitx_gemm_s32_s8_p2r_scalar(expected, P2R_N, x, 16, COLUMNS, w, P2R_N, K, STRIDE);
    return bitx_same(y, expected, sizeof y);
}

/* A row more than any kernel takes at once, columns that are no multiple of 16, and rows that begin
 * anywhere. */
static int s8_agrees(bitx_gemv_s32_s8_s8_fn kernel, const int8_t *x, const int8_t *w)
{
    enum { ODD_N = 9, ODD_K = 197 };
    int32_t y[ODD_N], expected[ODD_N];
    kernel(y, x, w, ODD_N, ODD_K);
    bitx_gemv_s32_s8_s8_scalar(expected, x, w, ODD_N, ODD_K);
    return bitx_same(y, expected, sizeof y);
}

/* Floats and halves from bytes; more rows and columns than any kernel takes at once,
 * and a rest of either. */
enum { FLOAT_N = 5, FLOAT_K = 41 };

typedef struct float_operands {
    float x[FLOAT_K], w[FLOAT_N * FLOAT_K];
    uint16_t half[FLOAT_N * FLOAT_K]; /* finite as f16 and as bf16 */
} float_operands;

static void make_floats(float_operands *o, const uint8_t *bytes)
{
    for (size_t i = 0; i < FLOAT_K; i++)
        o->x[i] = ((float)bytes[i] - 100) * 0x1.8p-5f;
    for (size_t i = 0; i < FLOAT_N * FLOAT_K; i++) {
        o->w[i] = ((float)bytes[i + 1] - 120) * 0x1.4p-6f;
        o->half[i] = (uint16_t)((bytes[i] << 8 | bytes[i + 1]) & 0xbfff);
    }
}

/* Rows that begin anywhere; every byte is a code. */
static int codes_agree(const bitx_kernels *kernels, const uint8_t *bytes)
{
    const int8_t *w = (const int8_t *)bytes;
    float y[FLOAT_N + FLOAT_K], expected[FLOAT_N + FLOAT_K];
    float_operands o;

    make_floats(&o, bytes);
    kernels->gemv_f32_f32_s8(y, o.x, w, FLOAT_N, FLOAT_K, FLOAT_K);
    kernels->gevm_f32_f32_s8(y + FLOAT_N, o.x, w, FLOAT_N, FLOAT_K, FLOAT_K);
    bitx_gemv_f32_f32_s8_scalar(expected, o.x, w, FLOAT_N, FLOAT_K, FLOAT_K);
    bitx_gevm_f32_f32_s8_scalar(expected + FLOAT_N, o.x, w, FLOAT_N, FLOAT_K, FLOAT_K);
    return bitx_same(y, expected, sizeof y);
}

static int softmax_agrees(bitx_softmax_f32_f32_fn kernel, const float_operands *o)
{
    float e[FLOAT_K + 1], expected[FLOAT_K + 1];
    bitx_copy(e, o->x, sizeof o->x);
    bitx_copy(expected, o->x, sizeof o->x);
    kernel(&e[FLOAT_K], e, 0x1.8p4f, FLOAT_K);
    bitx_softmax_f32_f32_scalar(&expected[FLOAT_K], expected, 0x1.8p4f, FLOAT_K);
    return bitx_same(e, expected, sizeof e);
}

static int floats_agree(const bitx_kernels *kernels, const uint8_t *bytes)
{
    const size_t n = FLOAT_N, k = FLOAT_K, stride = k * sizeof(float), half = k * sizeof(uint16_t);
    float y[5][FLOAT_K] = {{0}}, expected[5][FLOAT_K] = {{0}};
    float_operands o;

    make_floats(&o, bytes);
    kernels->gemv_f32_f32_f32(y[0], o.x, o.w, n, k, stride);
    kernels->gemv_f32_f32_f16(y[1], o.x, o.half, n, k, half);
    kernels->gemv_f32_f32_bf16(y[2], o.x, o.half, n, k, half);
    kernels->gevm_f32_f32_f32(y[3], o.x, o.w, n, k, stride);
    kernels->gevm_f32_f32_f16(y[4], o.x, o.half, n, k, half);
    bitx_gemv_f32_f32_f32_scalar(expected[0], o.x, o.w, n, k, stride);
    bitx_gemv_f32_f32_f16_scalar(expected[1], o.x, o.half, n, k, half);
    bitx_gemv_f32_f32_bf16_scalar(expected[2], o.x, o.half, n, k, half);
    bitx_gevm_f32_f32_f32_scalar(expected[3], o.x, o.w, n, k, stride);
    bitx_gevm_f32_f32_f16_scalar(expected[4], o.x, o.half, n, k, half);
    return bitx_same(y, expected, sizeof y) && softmax_agrees(kernels->softmax_f32_f32, &o);
}

static int all_agree(const bitx_kernels *kernels, const int8_t *x, const uint8_t *w)
{
    int agree = s8_agrees(kernels->gemv_s32_s8_s8, x, (const int8_t *)w);
    if (bitx_keeps_layout(BITX_LAYOUT_P2R))
        agree &=
            packed_agrees(kernels->gemv_s32_s8_p2r, bitx_gemv_s32_s8_p2r_scalar, P2R_N, x, w) &&
            gemm_agrees(kernels->gemm_s32_s8_p2r, x, w);
    if (bitx_keeps_layout(BITX_LAYOUT_B1R))
        agree &= packed_agrees(kernels->gemv_s32_s8_b1r, bitx_gemv_s32_s8_b1r_scalar, B1R_N, x, w);
    if (bitx_keeps_layout(BITX_LAYOUT_Q4R))
        agree &= packed_agrees(kernels->gemv_s32_s8_q4r, bitx_gemv_s32_s8_q4r_scalar, Q4R_N, x, w);
    if (bitx_keeps_layout(BITX_LAYOUT_P2B)) agree &= p2b_agrees(kernels, x, w);
    if (bitx_keeps_layout(BITX_LAYOUT_T5X3)) agree &= t5x3_agrees(kernels, x, w);
    if (bitx_keeps_layout(BITX_LAYOUT_P16))
        agree &= p16_agrees(kernels, x, w) && p16_agrees_for_two(kernels, x, w);
    return agree;
}

int bitx_kernels_agree(const bitx_kernels *kernels)
{
    static const uint8_t extremes[] = {0x80, 0x7f, 0xff, 0x00};
    int8_t x[X_BYTES];
    _Alignas(uint32_t) uint8_t w[W_BYTES];

    if (kernels->isa == BITX_ISA_SCALAR) return 1;
    fill((uint8_t *)x, sizeof x, 1);
    fill(w, sizeof w, 2);
    int agree = all_agree(kernels, x, w) && floats_agree(kernels, w);
    if (bitx_keeps_op(BITX_OP_ATTEND_INT8)) agree = agree && codes_agree(kernels, w);
    for (size_t i = 0; agree && i < 2 * sizeof extremes; i++) {
        __builtin_memset(x, i < sizeof extremes ? -128 : 127, sizeof x);
        __builtin_memset(w, extremes[i % sizeof extremes], sizeof w);
        agree = all_agree(kernels, x, w);
    }
    return agree;
}
