/* check_looked_up.h - run TernaryMatMul over a layout that is looked up: tables, kernel and passes.
 *
 * A line: <isa> <n> <k> <rows> <x> <w> <digest of y> <poisoned bytes overwritten>.  rows: of x, of
 * which <x> names the first; then they take turns.
 * Behind the last column x is poisoned too, and scratch is as large as a session's.
 */
#ifndef BITX_CHECK_LOOKED_UP_H
#define BITX_CHECK_LOOKED_UP_H

#include "check.h"
#include "lookup.h"
#include "session.h"

typedef struct looked_up_layout {
    uint32_t layout;
    size_t patterns;
    const char *const *names; /* of patterns */
    /* Byte i of W; the state is that of next_byte(). */
    uint8_t (*byte)(size_t pattern, size_t i, uint32_t *state);
} looked_up_layout;

static const char *const looked_up_x[] = {"low", "high", "random"};

enum { LOOKED_UP_X = sizeof looked_up_x / sizeof *looked_up_x };

/* Whole and ragged tiles, tasks, blocks of columns and passes; then the most columns there are. */
static const struct looked_up_size {
    uint32_t n, k, rows;
} looked_up_sizes[] = {{1, 1, 1},     {16, 24, 1},   {33, 25, 2},    {48, 47, 1},
                       {64, 384, 8},  {70, 385, 9},  {200, 769, 1},  {136, 800, 3},
                       {80, 2560, 1}, {24, 250, 17}, {16, 131056, 1}};

enum { LOOKED_UP_SIZES = sizeof looked_up_sizes / sizeof *looked_up_sizes };

static struct {
    buffer y, x, w, scratch;
} looked_up;

static inline size_t looked_up_w_bytes(uint32_t layout, uint32_t n, uint32_t k)
{
    const uint32_t tile = bitx_tile_rows(layout);
    return (size_t)((n + tile - 1) / tile * bitx_tiles_stride(layout, k));
}

static inline void check_product(bitx_isa isa, const looked_up_layout *it, size_t pattern,
                                 const struct looked_up_size *size, size_t in_x)
{
    static bitx_session session;
    const size_t y_stride = bitx_value_stride(size->n, BITX_S32);
    const size_t x_stride = bitx_value_stride(size->k, BITX_S8);
    const size_t w_bytes = looked_up_w_bytes(it->layout, size->n, size->k);
    uint8_t *const y = poisoned(&looked_up.y, size->rows * y_stride);
    uint8_t *const x = poisoned(&looked_up.x, size->rows * x_stride);
    uint8_t *const w = poisoned(&looked_up.w, w_bytes);
    uint32_t state = 2;
    bitx_sha256 hash;

    bitx_kernels_choose(&session.kernels, isa);
    session.scratch = poisoned(&looked_up.scratch, (size_t)bitx_scratch_bytes(it->layout, size->k));
    for (size_t i = 0; i < w_bytes; i++)
        w[i] = it->byte(pattern, i, &state);
    for (size_t t = 0; t < size->rows; t++) {
        fill_x((int8_t *)x + t * x_stride, size->k, looked_up_x[(in_x + t) % LOOKED_UP_X]);
        __builtin_memset(x + t * x_stride + size->k, POISON, x_stride - size->k);
    }
    const bitx_call call = {
        .session = &session,
        .in = {{x, x_stride, size->rows, size->k, BITX_S8, BITX_LAYOUT_PLAIN, 0, 0, 0, 0},
               {w, 0, size->n, size->k, BITX_U8, it->layout, 2, 0, 0, 0}},
        .out = {{y, y_stride, size->rows, size->n, BITX_S32, BITX_LAYOUT_PLAIN, 0, 0, 0, 0}}};
    (void)bitx_op_ternary_matmul(&call);

    bitx_sha256_begin(&hash);
    for (size_t t = 0; t < size->rows; t++)
        bitx_sha256_add(&hash, y + t * y_stride, size->n * sizeof(int32_t));
    print(bitx_isa_name(isa));
    print(" ");
    print_number(size->n);
    print(" ");
    print_number(size->k);
    print(" ");
    print_number(size->rows);
    print(" ");
    print(looked_up_x[in_x]);
    print(" ");
    print(it->names[pattern]);
    print(" ");
    print_digest(&hash);
    print(" ");
    print_number(damage(&looked_up.y) + damage(&looked_up.x) + damage(&looked_up.w) +
                 damage(&looked_up.scratch));
    print("\n");
}

static inline size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline int check_looked_up(const looked_up_layout *it)
{
    size_t y = 0, x = 0, w = 0, scratch = 0;

    for (size_t i = 0; i < LOOKED_UP_SIZES; i++) {
        const struct looked_up_size *size = &looked_up_sizes[i];
        y = larger(y, size->rows * bitx_value_stride(size->n, BITX_S32));
        x = larger(x, size->rows * bitx_value_stride(size->k, BITX_S8));
        w = larger(w, looked_up_w_bytes(it->layout, size->n, size->k));
        scratch = larger(scratch, (size_t)bitx_scratch_bytes(it->layout, size->k));
    }
    looked_up.y = make_buffer(y);
    looked_up.x = make_buffer(x);
    looked_up.w = make_buffer(w);
    looked_up.scratch = make_buffer(scratch);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(bitx_isa_available() & bit)) continue;
        for (size_t i = 0; i < LOOKED_UP_SIZES; i++)
            for (size_t in_w = 0; in_w < it->patterns; in_w++)
                for (size_t in_x = 0; in_x < LOOKED_UP_X; in_x++)
                    check_product((bitx_isa)bit, it, in_w, &looked_up_sizes[i], in_x);
    }
    print("end\n");
    return 0;
}

#endif /* BITX_CHECK_LOOKED_UP_H */
