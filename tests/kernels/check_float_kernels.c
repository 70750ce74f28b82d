/* check_float_kernels.c - run every variant of the float kernels that this core has on every case.
 *
 * A line: <isa> <kernel> <n> <k> <pattern> <digest of y> <poisoned bytes overwritten>.
 */
#include "check.h"
#include "floats.h"

static const size_t rows[] = {1, 3, 4, 5, 9};
static const size_t columns[] = {1, 7, 8, 9, 31, 32, 33, 100, 300};
static const char *const patterns[] = {"plain", "tiny", "zero", "huge", "infinite"};
static const size_t lengths[] = {1, 2, 7, 8, 9, 16, 17, 31, 300};
static const char *const score_patterns[] = {"plain", "tiny", "zero", "near", "infinite"};
enum { MOST_N = 9, MOST_K = 300, SPACE = 3 /* elements between rows */ };

typedef struct buffers {
    buffer y, x, w;
} buffers;

static uint32_t next_word(uint32_t *state)
{
    uint32_t word = 0;
    for (uint32_t i = 0; i < 4; i++)
        word |= (uint32_t)next_byte(state) << 8 * i;
    return word;
}

/* The bits of a float of a pattern; number i of those with a pattern. */
static uint32_t float_bits(uint32_t word, size_t i, char pattern)
{
    switch (pattern) {
    case 't': return word & 0x80ffffffu;                 /* subnormal, or next to it */
    case 'z': return word & 0x80000000u;                 /* of either sign */
    case 'h': return (word & 0x80ffffffu) | 0x7e000000u; /* products overflow */
    case 'i':
        if (i % 37 == 5) return (word & 0x80000000u) | BITX_INFINITY_BITS;
        break;
    case 'n': return bitx_bits((float)(int32_t)word * 0x1p-24f);
    default:  break;
    }
    return (word & 0x807fffffu) | (96 + (word >> 23 & 63)) << 23;
}

static uint16_t half_bits(uint32_t word, size_t i, char pattern)
{
    switch (pattern) {
    case 't': return (uint16_t)(word & 0x83ff);
    case 'z': return (uint16_t)(word & 0x8000);
    case 'h': return (uint16_t)((word & 0x83ff) | 0x7800);
    case 'i':
        if (i % 37 == 5) return (uint16_t)((word & 0x8000) | 0x7c00);
        break;
    default: break;
    }
    return (uint16_t)(word & 0xbfff);
}

static int8_t code(uint32_t word, char pattern)
{
    switch (pattern) {
    case 't': return (int8_t)(word % 3) - 1;
    case 'z': return 0;
    case 'h': return word & 1 ? 127 : -128;
    default:  return (int8_t)(word & 0xff);
    }
}

static void report(bitx_isa isa, const char *kernel, size_t n, size_t k, const char *pattern,
                   const float *y, size_t count, const buffers *b)
{
    bitx_sha256 hash;

    bitx_sha256_begin(&hash);
    for (size_t i = 0; i < count; i++) { /* all NaN count as one */
        const uint32_t bits = bitx_magnitude(y[i]) > BITX_INFINITY_BITS ? ~0u : bitx_bits(y[i]);
        bitx_sha256_add(&hash, &bits, sizeof bits);
    }
    print(bitx_isa_name(isa));
    print(" ");
    print(kernel);
    print(" ");
    print_number(n);
    print(" ");
    print_number(k);
    print(" ");
    print(pattern);
    print(" ");
    print_digest(&hash);
    print(" ");
    print_number(damage(&b->y) + damage(&b->x) + damage(&b->w));
    print("\n");
}

/* What a case needs in memory: x, of gemv k and of gevm n floats; w, n rows of k; y is the other.
 */
typedef struct operands {
    float *y, *x;
    void *w;
    size_t count, stride;
} operands;

static operands prepare(buffers *b, size_t n, size_t k, int is_gevm, const char *kind, char pattern)
{
    const size_t bytes = kind[0] == 's' ? 1 : kind[0] == 'f' && kind[1] == '3' ? 4 : 2;
    const size_t of_x = is_gevm ? n : k;
    operands o = {.count = is_gevm ? k : n, .stride = (k + SPACE) * bytes};
    uint32_t state = 7;

    o.y = poisoned(&b->y, o.count * sizeof *o.y);
    o.x = poisoned(&b->x, of_x * sizeof *o.x);
    o.w = poisoned(&b->w, (n - 1) * o.stride + k * bytes);
    for (size_t i = 0; i < of_x; i++)
        o.x[i] = bitx_float(float_bits(next_word(&state), i, pattern == 'h' ? 'h' : 'p'));
    for (size_t row = 0; row < n; row++)
        for (size_t i = 0; i < k; i++) {
            const uint32_t word = next_word(&state);
            const size_t at = row * (k + SPACE) + i;
            if (bytes == 1)
                ((int8_t *)o.w)[at] = code(word, pattern);
            else if (bytes == 4)
                ((float *)o.w)[at] = bitx_float(float_bits(word, row * k + i, pattern));
            else if (kind[0] == 'f')
                ((uint16_t *)o.w)[at] = half_bits(word, row * k + i, pattern);
            else
                ((uint16_t *)o.w)[at] = (uint16_t)(float_bits(word, row * k + i, pattern) >> 16);
        }
    for (size_t i = 0; i < o.count; i++)
        o.y[i] = -1;
    return o;
}

static void check_products(bitx_isa isa, buffers *b, size_t n, size_t k, const char *pattern)
{
    bitx_kernels kernels;
    operands o;

    bitx_kernels_choose(&kernels, isa);
    o = prepare(b, n, k, 0, "f32", pattern[0]);
    kernels.gemv_f32_f32_f32(o.y, o.x, o.w, n, k, o.stride);
    report(isa, "gemv_f32_f32_f32", n, k, pattern, o.y, o.count, b);
    o = prepare(b, n, k, 0, "f16", pattern[0]);
    kernels.gemv_f32_f32_f16(o.y, o.x, o.w, n, k, o.stride);
    report(isa, "gemv_f32_f32_f16", n, k, pattern, o.y, o.count, b);
    o = prepare(b, n, k, 0, "bf16", pattern[0]);
    kernels.gemv_f32_f32_bf16(o.y, o.x, o.w, n, k, o.stride);
    report(isa, "gemv_f32_f32_bf16", n, k, pattern, o.y, o.count, b);
    o = prepare(b, n, k, 1, "f32", pattern[0]);
    kernels.gevm_f32_f32_f32(o.y, o.x, o.w, n, k, o.stride);
    report(isa, "gevm_f32_f32_f32", n, k, pattern, o.y, o.count, b);
    o = prepare(b, n, k, 1, "f16", pattern[0]);
    kernels.gevm_f32_f32_f16(o.y, o.x, o.w, n, k, o.stride);
    report(isa, "gevm_f32_f32_f16", n, k, pattern, o.y, o.count, b);
    o = prepare(b, n, k, 0, "s8", pattern[0]);
    kernels.gemv_f32_f32_s8(o.y, o.x, o.w, n, k, o.stride);
    report(isa, "gemv_f32_f32_s8", n, k, pattern, o.y, o.count, b);
    o = prepare(b, n, k, 1, "s8", pattern[0]);
    kernels.gevm_f32_f32_s8(o.y, o.x, o.w, n, k, o.stride);
    report(isa, "gevm_f32_f32_s8", n, k, pattern, o.y, o.count, b);
}

/* Scores may be -infinity, but not all, and no higher. */
static void check_softmax(bitx_isa isa, buffers *b, size_t n, const char *pattern)
{
    bitx_kernels kernels;
    float *const e = poisoned(&b->y, n * sizeof *e);
    float z = -1, results[MOST_K + 1];
    uint32_t state = 8;

    bitx_kernels_choose(&kernels, isa);
    (void)poisoned(&b->x, 0);
    (void)poisoned(&b->w, 0);
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = float_bits(next_word(&state), i, pattern[0]);
        e[i] = bitx_float(bits == BITX_INFINITY_BITS ? 0xff800000u : bits);
    }
    kernels.softmax_f32_f32(&z, e, 0x1.6a09e6p-4f, n);
    bitx_copy(results, e, n * sizeof *e);
    results[n] = z;
    report(isa, "softmax_f32_f32", n, 0, pattern, results, n + 1, b);
}

int runner_run(int count, char **words)
{
    buffers b = {make_buffer(MOST_K * sizeof(float)), make_buffer(MOST_K * sizeof(float)),
                 make_buffer(MOST_N * (MOST_K + SPACE) * sizeof(float))};

    (void)count;
    (void)words;
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(bitx_isa_available() & bit)) continue;
        for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++)
            for (size_t n = 0; n < sizeof rows / sizeof *rows; n++)
                for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
                    check_products((bitx_isa)bit, &b, rows[n], columns[k], patterns[p]);
        for (size_t p = 0; p < sizeof score_patterns / sizeof *score_patterns; p++)
            for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++)
                check_softmax((bitx_isa)bit, &b, lengths[n], score_patterns[p]);
    }
    print("end\n");
    return 0;
}
