/* gemv_s32_s8_s8_neon.c - Armv7-A and Armv8.0-A: widening multiplies, some rows at a time.
 *
 * Two products fit int16 but for -128 by -128 twice.  Where x has no -128, as the codes of
 * QuantizeRows have none, they are added there and widened together.
 */
#include "gemv_s32_s8_s8.h"

#if !defined(__ARM_NEON)
#error "compile this file with the flags of isa 'neon' (targets/isa.toml)"
#endif
#include <arm_neon.h>

#ifdef __aarch64__

/* By hand: GCC 12 moves the loads of all rows forward until registers run out. */
enum { ROWS = 8, STEP = 64 };

/* clang-format off */
#define MULTIPLY(mull, kind)                                                                       \
    mull " v16.8h, v4" kind ", v0" kind "\n"                                                       \
    mull " v17.8h, v5" kind ", v1" kind "\n"                                                       \
    mull " v18.8h, v6" kind ", v2" kind "\n"                                                       \
    mull " v19.8h, v7" kind ", v3" kind "\n"
#define WIDEN(sum)                                                                                 \
    "sadalp " sum ".4s, v16.8h\n"                                                                  \
    "sadalp " sum ".4s, v17.8h\n"                                                                  \
    "sadalp " sum ".4s, v18.8h\n"                                                                  \
    "sadalp " sum ".4s, v19.8h\n"

/* 64 columns of a row, in v4 to v7, times x in v0 to v3. */
#define TOGETHER(sum) MULTIPLY("smull", ".8b") MULTIPLY("smlal2", ".16b") WIDEN(sum)
#define APART(sum) MULTIPLY("smull", ".8b") WIDEN(sum) MULTIPLY("smull2", ".16b") WIDEN(sum)
#define ADD_ROW(add, row, sum)                                                                     \
    "ld1 {v4.16b, v5.16b, v6.16b, v7.16b}, [%[w" #row "]], #64\n"                                  \
    add(sum)

#define ADD_ROWS(add)                                                                              \
    __asm__ volatile(                                                                              \
        "movi v24.4s, #0\n movi v25.4s, #0\n movi v26.4s, #0\n movi v27.4s, #0\n"                  \
        "movi v28.4s, #0\n movi v29.4s, #0\n movi v30.4s, #0\n movi v31.4s, #0\n"                  \
        "1:\n"                                                                                     \
        "ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [%[x]], #64\n"                                      \
        ADD_ROW(add, 0, "v24") ADD_ROW(add, 1, "v25")                                              \
        ADD_ROW(add, 2, "v26") ADD_ROW(add, 3, "v27")                                              \
        ADD_ROW(add, 4, "v28") ADD_ROW(add, 5, "v29")                                              \
        ADD_ROW(add, 6, "v30") ADD_ROW(add, 7, "v31")                                              \
        "subs %[steps], %[steps], #1\n"                                                            \
        "b.ne 1b\n"                                                                                \
        "addp v24.4s, v24.4s, v25.4s\n addp v26.4s, v26.4s, v27.4s\n"                              \
        "addp v28.4s, v28.4s, v29.4s\n addp v30.4s, v30.4s, v31.4s\n"                              \
        "addp v24.4s, v24.4s, v26.4s\n addp v28.4s, v28.4s, v30.4s\n"                              \
        "stp q24, q28, [%[y]]\n"                                                                   \
        : [x] "+r"(x), [steps] "+r"(steps), [w0] "+r"(w0), [w1] "+r"(w1), [w2] "+r"(w2),           \
          [w3] "+r"(w3), [w4] "+r"(w4), [w5] "+r"(w5), [w6] "+r"(w6), [w7] "+r"(w7)                \
        : [y] "r"(y)                                                                               \
        : "cc", "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18",     \
          "v19", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31")
/* clang-format on */

/* The first steps of the columns, one at least. */
static void add_rows(int32_t *y, const int8_t *w, const int8_t *x, size_t k, int has_lowest)
{
    const int8_t *w0 = w, *w1 = w0 + k, *w2 = w1 + k, *w3 = w2 + k;
    const int8_t *w4 = w3 + k, *w5 = w4 + k, *w6 = w5 + k, *w7 = w6 + k;
    size_t steps = k / STEP;

    if (has_lowest)
        ADD_ROWS(APART);
    else
        ADD_ROWS(TOGETHER);
}

#else

enum { ROWS = 4, STEP = 16 };

static inline int32x4_t add_products(int32x4_t sum, int8x16_t w, int8x16_t x, int has_lowest)
{
    int16x8_t products = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    if (!has_lowest) return vpadalq_s16(sum, vmlal_s8(products, vget_high_s8(w), vget_high_s8(x)));
    sum = vpadalq_s16(sum, products);
    return vpadalq_s16(sum, vmull_s8(vget_high_s8(w), vget_high_s8(x)));
}

static inline int32x2_t add_across(int32x4_t a, int32x4_t b)
{
    return vpadd_s32(vadd_s32(vget_low_s32(a), vget_high_s32(a)),
                     vadd_s32(vget_low_s32(b), vget_high_s32(b)));
}

/* The first steps of the columns, one at least.  Inlined with a constant at the end. */
static inline void add_four(int32_t *y, const int8_t *w, const int8_t *x, size_t k, int has_lowest)
{
    const int8_t *const end = x + k / STEP * STEP;
    const int8_t *w0 = w, *w1 = w0 + k, *w2 = w1 + k, *w3 = w2 + k;
    int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;

    while (x < end) {
        const int8x16_t x16 = vld1q_s8(x);
        __asm__("" : "+r"(w0), "+r"(w1), "+r"(w2), "+r"(w3)); /* each keeps a register */
        sum0 = add_products(sum0, vld1q_s8(w0), x16, has_lowest);
        sum1 = add_products(sum1, vld1q_s8(w1), x16, has_lowest);
        sum2 = add_products(sum2, vld1q_s8(w2), x16, has_lowest);
        sum3 = add_products(sum3, vld1q_s8(w3), x16, has_lowest);
        x += STEP, w0 += STEP, w1 += STEP, w2 += STEP, w3 += STEP;
    }
    vst1_s32(y, add_across(sum0, sum1));
    vst1_s32(y + 2, add_across(sum2, sum3));
}

static void add_rows(int32_t *y, const int8_t *w, const int8_t *x, size_t k, int has_lowest)
{
    if (has_lowest)
        add_four(y, w, x, k, 1);
    else
        add_four(y, w, x, k, 0);
}

#endif

/* Whether -128 is among k columns, whole steps. */
static int find_lowest(const int8_t *x, size_t k)
{
    int8x16_t least = vdupq_n_s8(0);
    int8_t lanes[16];
    int found = 0;
    for (size_t i = 0; i < k; i += 16)
        least = vminq_s8(least, vld1q_s8(x + i));
    vst1q_s8(lanes, least);
    for (size_t lane = 0; lane < 16; lane++)
        found |= lanes[lane] == -128;
    return found;
}

static int32_t one_row(const int8_t *w, const int8_t *x, size_t k)
{
    int32x4_t sums = vdupq_n_s32(0);
    int32_t lanes[4];
    for (; k >= 16; k -= 16, w += 16, x += 16) {
        const int8x16_t w16 = vld1q_s8(w), x16 = vld1q_s8(x);
        sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(w16), vget_low_s8(x16)));
        sums = vpadalq_s16(sums, vmull_s8(vget_high_s8(w16), vget_high_s8(x16)));
    }
    vst1q_s32(lanes, sums);
    int32_t sum = lanes[0] + lanes[1] + lanes[2] + lanes[3];
    for (size_t i = 0; i < k; i++)
        sum += x[i] * w[i];
    return sum;
}

void bitx_gemv_s32_s8_s8_neon(int32_t *restrict y, const int8_t *restrict x,
                              const int8_t *restrict w, size_t n, size_t k)
{
    const size_t done = k / STEP * STEP;
    const int has_lowest = find_lowest(x, done);

    for (; done > 0 && n >= ROWS; n -= ROWS, y += ROWS, w += ROWS * k) {
        add_rows(y, w, x, k, has_lowest);
        for (size_t row = 0; done < k && row < ROWS; row++)
            y[row] += one_row(w + row * k + done, x + done, k - done);
    }
    for (size_t row = 0; row < n; row++)
        y[row] = one_row(w + row * k, x, k);
}
