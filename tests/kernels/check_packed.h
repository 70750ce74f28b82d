/* check_packed.h - run every variant of the kernel of one packed layout on every case.
 *
 * A line: <isa> <n> <k> <spare> <x> <w> <digest of y> <poisoned bytes overwritten>.  spare: columns
 * of the matrix behind the k that count.
 */
#ifndef BITX_CHECK_PACKED_H
#define BITX_CHECK_PACKED_H

#include "check.h"

/* All packed layouts have kernels of one type. */
typedef struct packed_layout {
    bitx_gemv_s32_s8_p2r_fn (*kernel)(const bitx_kernels *kernels);
    size_t tile_rows, patterns;
    const char *const *names; /* of patterns */
    /* Byte i of W; the state is that of next_byte(). */
    uint8_t (*byte)(size_t pattern, size_t i, uint32_t *state);
} packed_layout;

/* A row of tiles takes 4 bytes a column, whatever the layout. */
enum { MOST_TILES = 5, MOST_ROWS = 32 * MOST_TILES, MOST_K = 131056, MOST_W = 4 * MOST_K };

static struct {
    buffer y, x, w;
} buffers;

static inline void check_case(bitx_isa isa, const packed_layout *layout, size_t tiles, size_t k,
                              size_t spare)
{
    static const char *const x_patterns[] = {"low", "high", "random"};
    const size_t n = tiles * layout->tile_rows, stride = 4 * (k + spare);
    bitx_kernels kernels;
    int32_t *const y = poisoned(&buffers.y, n * sizeof *y);
    int8_t *const x = poisoned(&buffers.x, k);
    uint8_t *const w = poisoned(&buffers.w, tiles * stride);

    bitx_kernels_choose(&kernels, isa);
    for (size_t in_w = 0; in_w < layout->patterns; in_w++) {
        uint32_t state = 2;
        for (size_t i = 0; i < tiles * stride; i++)
            w[i] = layout->byte(in_w, i, &state);
        for (size_t in_x = 0; in_x < sizeof x_patterns / sizeof *x_patterns; in_x++) {
            bitx_sha256 hash;
            fill_x(x, k, x_patterns[in_x]);
            for (size_t i = 0; i < n; i++)
                y[i] = -1;
            layout->kernel (&kernels)(y, x, w, n, k, stride);

            bitx_sha256_begin(&hash);
            bitx_sha256_add(&hash, y, n * sizeof *y);
            print(bitx_isa_name(isa));
            print(" ");
            print_number(n);
            print(" ");
            print_number(k);
            print(" ");
            print_number(spare);
            print(" ");
            print(x_patterns[in_x]);
            print(" ");
            print(layout->names[in_w]);
            print(" ");
            print_digest(&hash);
            print(" ");
            print_number(damage(&buffers.y) + damage(&buffers.x) + damage(&buffers.w));
            print("\n");
        }
    }
}

static inline int check_packed(const packed_layout *layout)
{
    static const size_t tiles[] = {1, 2, 3, MOST_TILES}, columns[] = {16, 32, 64, 208, 2560};

    buffers.y = make_buffer(MOST_ROWS * sizeof(int32_t));
    buffers.x = make_buffer(MOST_K);
    buffers.w = make_buffer(MOST_W);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(bitx_isa_available() & bit)) continue;
        for (size_t n = 0; n < sizeof tiles / sizeof *tiles; n++)
            for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
                check_case((bitx_isa)bit, layout, tiles[n], columns[k], 0);
        check_case((bitx_isa)bit, layout, 3, 144, 48);
        check_case((bitx_isa)bit, layout, 2, 16, 1040);
        check_case((bitx_isa)bit, layout, 1, MOST_K, 0);
    }
    print("end\n");
    return 0;
}

#endif /* BITX_CHECK_PACKED_H */
