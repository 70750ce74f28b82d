/* check_gemv_s32_s8_s8.c - run every variant that this core has on every case.
 *
 * A line: <isa> <n> <k> <x> <w> <digest of y> <poisoned bytes overwritten>.
 */
#include "check.h"

static const size_t rows[] = {1, 2, 5, 16, 33};
static const size_t columns[] = {1, 7, 15, 16, 17, 31, 32, 33, 64, 100, 208, 2560};
static const char *const patterns[] = {"low", "high", "random"};
static const char *const x_patterns[] = {"low", "high", "code", "random"};
enum { MOST_N = 33, MOST_K = 131056, MOST_W = 2 * MOST_K };

typedef struct buffers {
    buffer y, x, w;
} buffers;

static void fill_w(int8_t *w, size_t bytes, const char *pattern)
{
    uint32_t state = 2;
    for (size_t i = 0; i < bytes; i++)
        w[i] = (int8_t)(pattern[0] == 'l' ? -128 : pattern[0] == 'h' ? 127 : next_byte(&state));
}

static void check(bitx_isa isa, buffers *b, size_t n, size_t k)
{
    bitx_kernels kernels;
    int32_t *const y = poisoned(&b->y, n * sizeof *y);
    int8_t *const x = poisoned(&b->x, k);
    int8_t *const w = poisoned(&b->w, n * k);

    bitx_kernels_choose(&kernels, isa);
    for (size_t in_w = 0; in_w < sizeof patterns / sizeof *patterns; in_w++) {
        fill_w(w, n * k, patterns[in_w]);
        for (size_t in_x = 0; in_x < sizeof x_patterns / sizeof *x_patterns; in_x++) {
            bitx_sha256 hash;
            fill_x(x, k, x_patterns[in_x]);
            for (size_t i = 0; i < n; i++)
                y[i] = -1;
            kernels.gemv_s32_s8_s8(y, x, w, n, k);

            bitx_sha256_begin(&hash);
            bitx_sha256_add(&hash, y, n * sizeof *y);
            print(bitx_isa_name(isa));
            print(" ");
            print_number(n);
            print(" ");
            print_number(k);
            print(" ");
            print(x_patterns[in_x]);
            print(" ");
            print(patterns[in_w]);
            print(" ");
            print_digest(&hash);
            print(" ");
            print_number(damage(&b->y) + damage(&b->x) + damage(&b->w));
            print("\n");
        }
    }
}

int runner_run(int count, char **words)
{
    buffers b = {make_buffer(MOST_N * sizeof(int32_t)), make_buffer(MOST_K), make_buffer(MOST_W)};

    (void)count;
    (void)words;
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(bitx_isa_available() & bit)) continue;
        for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
            for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
                check((bitx_isa)bit, &b, rows[n], columns[k]);
        check((bitx_isa)bit, &b, 2, MOST_K);
    }
    print("end\n");
    return 0;
}
