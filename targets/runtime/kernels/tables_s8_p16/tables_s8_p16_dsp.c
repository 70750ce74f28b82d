/* tables_s8_p16_dsp.c - Armv7E-M and Armv8-M with the DSP extension: two products at a time. */
#include "tables_s8_p16.h"

#if !defined(__ARM_FEATURE_SIMD32)
#error "compile this file with the flags of isa 'dsp' (targets/isa.toml)"
#endif
#include <arm_acle.h>

enum { PRODUCTS = 256 };

/* Two products, wherever they lie: one instruction. */
static inline int16x2_t load_two(const int16_t *from)
{
    int16x2_t two;
    __builtin_memcpy(&two, from, sizeof two);
    return two;
}

static inline void store_two(int16_t *to, int16x2_t two)
{
    __builtin_memcpy(to, &two, sizeof two);
}

/* Given the products of some digits, where the next is 1: puts those where it is 0 before, and
 * those where it is 2 behind them.  How many there are is a power of 3, and so odd. */
static inline void add_digit(int16_t *products, ptrdiff_t count, int32_t x)
{
    const int16x2_t twice = (int16x2_t)((uint32_t)x << 16 | (uint16_t)x);
    const int16_t *const last = products + count - 1;
#pragma GCC unroll 4
    for (; products < last; products += 2) {
        const int16x2_t two = load_two(products);
        store_two(products - count, __ssub16(two, twice));
        store_two(products + count, __sadd16(two, twice));
    }
    products[-count] = (int16_t)(*products - x);
    products[count] = (int16_t)(*products + x);
}

/* A digit of 1 multiplies by 0: 121, all of whose digits are 1, comes first. */
static __attribute__((noinline)) void make_table(int16_t *products, const int8_t *x)
{
    const int16x2_t twice = (int16x2_t)((uint32_t)x[4] << 16 | (uint16_t)x[4]);
    products[121] = 0;
    add_digit(products + 121, 1, x[0]);
    add_digit(products + 120, 3, x[1]);
    add_digit(products + 117, 9, x[2]);
    add_digit(products + 108, 27, x[3]);
    add_digit(products + 81, 81, x[4]);
#pragma GCC unroll 6
    for (size_t byte = 243; byte < PRODUCTS - 1; byte += 2)
        store_two(products + byte, __sadd16(load_two(products + byte - 81), twice));
    products[PRODUCTS - 1] = (int16_t)(products[PRODUCTS - 1 - 81] + x[4]);
}

void bitx_tables_s8_p16_dsp(uint8_t *restrict tables, const int8_t *restrict x, size_t k)
{
    int16_t *products = (int16_t *)(void *)tables;
    int8_t rest[10] = {0};

    for (; k >= 10; k -= 10, x += 10, products += 2 * PRODUCTS) {
        make_table(products, x);
        make_table(products + PRODUCTS, x + 5);
    }
    for (size_t i = 0; i < k; i++)
        rest[i] = x[i];
    if (k > 0) {
        make_table(products, rest);
        make_table(products + PRODUCTS, rest + 5);
    }
}
