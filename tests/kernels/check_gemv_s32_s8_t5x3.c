/* check_gemv_s32_s8_t5x3.c - run every variant on every case.
 *
 * A line: <isa> <n> <k> <spare> <x> <w> <digest of y> <poisoned bytes overwritten>.  spare: columns
 * of the matrix behind the k that count.
 */
#include "check_t5x3.h"

enum { MOST_TILES = 9, MOST_K = 131072, MOST_W = MOST_K / 32 * 80 };

static struct {
    buffer y, x, w;
} buffers;

static void check_case(bitx_isa isa, size_t tiles, size_t k, size_t spare)
{
    static const char *const x_patterns[] = {"low", "high", "random"};
    const size_t n = T5X3_ROWS * tiles, stride = t5x3_stride(k + spare);
    bitx_kernels kernels;
    int32_t *const y = poisoned(&buffers.y, n * sizeof *y);
    int8_t *const x = poisoned(&buffers.x, k);
    uint8_t *const w = poisoned(&buffers.w, tiles * stride);

    bitx_kernels_choose(&kernels, isa);
    for (size_t in_w = 0; in_w < T5X3_PATTERNS; in_w++) {
        uint32_t state = 2;
        for (size_t i = 0; i < tiles * stride; i++)
            w[i] = t5x3_byte(in_w, i, &state);
        for (size_t in_x = 0; in_x < sizeof x_patterns / sizeof *x_patterns; in_x++) {
            const size_t numbers[] = {n, k, spare};
            bitx_sha256 hash;
            fill_x(x, k, x_patterns[in_x]);
            for (size_t i = 0; i < n; i++)
                y[i] = -1;
            kernels.gemv_s32_s8_t5x3(y, x, w, n, k, stride);

            bitx_sha256_begin(&hash);
            bitx_sha256_add(&hash, y, n * sizeof *y);
            print_case(isa, numbers, 3);
            print(x_patterns[in_x]);
            print(" ");
            print(t5x3_names[in_w]);
            print(" ");
            print_digest(&hash);
            print(" ");
            print_number(damage(&buffers.y) + damage(&buffers.x) + damage(&buffers.w));
            print("\n");
        }
    }
}

int runner_run(int count, char **words)
{
    static const size_t tiles[] = {1, 2, 3, 4, 5, MOST_TILES}, depths[] = {32, 64, 224, 896};

    (void)count;
    (void)words;
    buffers.y = make_buffer(MOST_TILES * T5X3_ROWS * sizeof(int32_t));
    buffers.x = make_buffer(MOST_K);
    buffers.w = make_buffer(MOST_W);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(bitx_isa_available() & bit)) continue;
        for (size_t n = 0; n < sizeof tiles / sizeof *tiles; n++)
            for (size_t k = 0; k < sizeof depths / sizeof *depths; k++)
                check_case((bitx_isa)bit, tiles[n], depths[k], 0);
        check_case((bitx_isa)bit, 3, 160, 64);
        check_case((bitx_isa)bit, 2, 2560, 0);
        check_case((bitx_isa)bit, 1, MOST_K, 0);
    }
    print("end\n");
    return 0;
}
