/* check_floats.c - what src/floats.h computes, as digests over blocks of results.
 *
 * A line: <what> <block> <digest of the results' bytes>.
 */
#include "check.h"
#include "floats.h"

enum { BLOCK = 4096 };

typedef struct stream {
    const char *what;
    bitx_sha256 hash;
    size_t count;
} stream;

static void begin(stream *s, const char *what)
{
    s->what = what;
    s->count = 0;
    bitx_sha256_begin(&s->hash);
}

static void end_block(stream *s)
{
    print(s->what);
    print(" ");
    print_number((s->count - 1) / BLOCK);
    print(" ");
    print_digest(&s->hash);
    print("\n");
    bitx_sha256_begin(&s->hash);
}

static void add(stream *s, const void *result, size_t bytes)
{
    bitx_sha256_add(&s->hash, result, bytes);
    if (++s->count % BLOCK == 0) end_block(s);
}

static void end(stream *s)
{
    if (s->count % BLOCK != 0) end_block(s);
}

static void add_float(stream *s, float result)
{
    add(s, &result, sizeof result);
}

/* An input that is too large, and only that, becomes infinite: all such results count as one. */
static void add_f16(stream *s, float x)
{
    uint16_t result = bitx_to_f16(x);
    if ((result & 0x7fff) >= 0x7c00) result = 0xffff;
    add(s, &result, sizeof result);
}

static uint32_t next_word(uint32_t *state)
{
    uint32_t word = 0;
    for (uint32_t i = 0; i < 4; i++)
        word |= (uint32_t)next_byte(state) << 8 * i;
    return word;
}

/* Of magnitude 2^-31 to 2^33. */
static float next_float(uint32_t *state)
{
    const uint32_t word = next_word(state);
    return bitx_float((word & 0x807fffffu) | (96 + (word >> 23 & 63)) << 23);
}

static int is_finite_f16(uint32_t half)
{
    return (half & 0x7c00) != 0x7c00;
}

/* All but NaN, whose bits differ between cores. */
static void check_from_f16(void)
{
    stream s;
    begin(&s, "from_f16");
    for (uint32_t half = 0; half < 0x10000; half++)
        if ((half & 0x7fff) <= 0x7c00) add_float(&s, bitx_from_f16((uint16_t)half));
    end(&s);
}

/* Every f16, and half way to the next: there, just below and just above. */
static void check_to_f16(void)
{
    stream s;
    uint32_t state = 3;

    begin(&s, "to_f16");
    for (uint32_t half = 0; half < 0x10000; half++) {
        if (!is_finite_f16(half)) continue;
        const int is_largest = (half & 0x7fff) == 0x7bff;
        const float x = bitx_from_f16((uint16_t)half);
        const float next =
            is_largest ? (x < 0 ? -65536.0f : 65536.0f) : bitx_from_f16((uint16_t)(half + 1));
        const uint32_t middle = bitx_bits((x + next) * 0.5f);
        add_f16(&s, x);
        add_f16(&s, bitx_float(middle - 1));
        add_f16(&s, bitx_float(middle));
        add_f16(&s, bitx_float(middle + 1));
    }
    for (size_t i = 0; i < 16 * BLOCK; i++)
        add_f16(&s, bitx_float(next_word(&state)));
    end(&s);
}

static void check_exp(void)
{
    static const uint32_t edges[] = {0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff,
                                     0x807fffff, 0x3f800000, 0xbf800000, 0x42ae0000, 0xc2ae0000,
                                     0xc2adffff, 0xc2ae0001, 0x42b00000, 0x42afffff, 0x42b00001,
                                     0xc2b00000, 0x3eb17218, 0xbeb17218, 0x3eb17219, 0xbeb17219,
                                     0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000};
    stream s;
    uint32_t state = 4;

    begin(&s, "exp");
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        add_float(&s, bitx_exp(bitx_float(edges[i])));
    for (size_t i = 0; i < 8 * BLOCK; i++)
        add_float(&s, bitx_exp((float)(int32_t)next_word(&state) * 0x1p-24f));
    for (size_t i = 0; i < 2 * BLOCK; i++)
        add_float(&s, bitx_exp(next_float(&state)));
    end(&s);
}

static void check_lanes(void)
{
    enum { MOST = 300 };
    static float x[MOST], y[MOST];
    static uint16_t bf16[MOST], f16[MOST];
    stream sum, magnitudes, dot, dot_bf16, dot_f16;
    uint32_t state = 5;

    for (size_t i = 0; i < MOST; i++) {
        x[i] = next_float(&state);
        y[i] = next_float(&state);
        bf16[i] = (uint16_t)(bitx_bits(next_float(&state)) >> 16);
        f16[i] = (uint16_t)(next_word(&state) & 0xbfff);
    }
    begin(&sum, "lane_sum");
    begin(&magnitudes, "lane_sum_of_magnitudes");
    begin(&dot, "lane_dot");
    begin(&dot_bf16, "lane_dot_bf16");
    begin(&dot_f16, "lane_dot_f16");
    for (size_t count = 1; count <= MOST; count++) {
        add_float(&sum, bitx_lane_sum(x, count));
        add_float(&magnitudes, bitx_lane_sum_of_magnitudes(x, count));
        add_float(&dot, bitx_lane_dot(x, y, count));
        add_float(&dot_bf16, bitx_lane_dot_bf16(x, bf16, count));
        add_float(&dot_f16, bitx_lane_dot_f16(x, f16, count));
    }
    end(&sum);
    end(&magnitudes);
    end(&dot);
    end(&dot_bf16);
    end(&dot_f16);
}

/* Subnormals in, out and between: a core that flushes them gives itself away. */
static void check_subnormals(void)
{
    float x[16];
    stream s;

    begin(&s, "subnormal_sum");
    for (uint32_t i = 0; i < 16; i++)
        x[i] = bitx_float(i % 2 ? 0x80000001u + i : 0x00400000u + i);
    for (size_t count = 1; count <= 16; count++)
        add_float(&s, bitx_lane_sum(x, count));
    end(&s);
}

static void check_nearest(void)
{
    stream s;
    uint32_t state = 6;

    begin(&s, "nearest");
    for (int32_t i = -2 * BLOCK; i < 2 * BLOCK; i++) {
        const int32_t result = bitx_nearest((float)i * 0.5f);
        add(&s, &result, sizeof result);
    }
    for (size_t i = 0; i < 4 * BLOCK; i++) {
        const int32_t result = bitx_nearest((float)(int32_t)next_word(&state) * 0x1p-9f);
        add(&s, &result, sizeof result);
    }
    end(&s);
}

int runner_run(int count, char **words)
{
    (void)count;
    (void)words;
    print("sound ");
    print_number(bitx_floats_are_sound() != 0);
    print(" -\n");
    check_from_f16();
    check_to_f16();
    check_exp();
    check_lanes();
    check_subnormals();
    check_nearest();
    print("end\n");
    return 0;
}
