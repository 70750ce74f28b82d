/* check_gemv_s32_s8_p2r.c - run every variant that this core has on every case.
 *
 * A line: <isa> <n> <k> <x> <w> <digest of y> <poisoned bytes overwritten>.
 */
#include "check.h"

static const size_t rows[] = {16, 32, 48, 80}, columns[] = {16, 32, 64, 208, 2560};
static const char *const x_patterns[] = {"low", "high", "random"};
static const char *const w_patterns[] = {"minus", "plus", "trits", "bytes", "lowest", "highest"};
enum { MOST_N = 80, MOST_K = 131056, MOST_W = MOST_K * 16 / 4 };

typedef struct buffers {
    buffer y, x, w;
} buffers;

/* Three codes at random, and where a random code is the fourth, a zero. */
static uint8_t trits(uint8_t random)
{
    uint32_t byte = 0;
    for (uint32_t field = 0; field < 4; field++) {
        const uint32_t two = random >> 2 * field & 3, code = two == 3 ? 1 : two;
        byte |= (field < 3 ? code : (code + 3) & 3) << 2 * field;
    }
    return (uint8_t)byte;
}

static void fill_w(uint8_t *w, size_t bytes, size_t pattern)
{
    uint32_t state = 2;
    for (size_t i = 0; i < bytes; i++) {
        const uint8_t choices[] = {
            0xC0, 0x6A, trits(next_byte(&state)), (uint8_t)(i * 167 + i / 256), 0x80, 0x7F};
        w[i] = choices[pattern];
    }
}

static void check(bitx_isa isa, buffers *b, size_t n, size_t k)
{
    bitx_kernels kernels;
    int32_t *const y = poisoned(&b->y, n * sizeof *y);
    int8_t *const x = poisoned(&b->x, k);
    uint8_t *const w = poisoned(&b->w, n * k / 4);

    bitx_kernels_choose(&kernels, isa);
    for (size_t in_w = 0; in_w < sizeof w_patterns / sizeof *w_patterns; in_w++) {
        fill_w(w, n * k / 4, in_w);
        for (size_t in_x = 0; in_x < sizeof x_patterns / sizeof *x_patterns; in_x++) {
            bitx_sha256 hash;
            fill_x(x, k, x_patterns[in_x]);
            for (size_t i = 0; i < n; i++)
                y[i] = -1;
            kernels.gemv_s32_s8_p2r(y, x, w, n, k);

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
            print(w_patterns[in_w]);
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
        check((bitx_isa)bit, &b, 16, MOST_K);
    }
    print("end\n");
    return 0;
}
