/* tables_s8_s8_p16_dsp.c - Armv7E-M and Armv8-M with the DSP extension. */
#include "tables_s8_s8_p16.h"

#if !defined(__ARM_FEATURE_SIMD32)
#error "compile this file with the flags of isa 'dsp' (targets/isa.toml)"
#endif

enum { PRODUCTS = 256 };

/* Given the products of some digits, where the next is 1: puts those where it is 0 before, and
 * those where it is 2 behind them.  How many there are is a power of 3. */
static inline void add_digit(uint32_t *products, ptrdiff_t count, uint32_t x)
{
    uint32_t *const end = products + count;
#pragma GCC unroll 3
    for (; products < end; products++) {
        const uint32_t product = *products;
        products[-count] = product - x;
        products[count] = product + x;
    }
}

/* A digit of 1 multiplies by 0: 121, all of whose digits are 1, comes first. */
static __attribute__((noinline)) void make_table(uint32_t *products, const uint32_t *x)
{
    products[121] = 0;
    add_digit(products + 121, 1, x[0]);
    add_digit(products + 120, 3, x[1]);
    add_digit(products + 117, 9, x[2]);
    add_digit(products + 108, 27, x[3]);
    add_digit(products + 81, 81, x[4]);
    for (size_t byte = 243; byte < PRODUCTS; byte++)
        products[byte] = products[byte - 81] + x[4];
}

void bitx_tables_s8_s8_p16_dsp(uint8_t *restrict tables, const int8_t *restrict x, size_t x_stride,
                               size_t k)
{
    uint32_t *products = (uint32_t *)(void *)tables;
    for (size_t column = 0; column < k; column += 10, products += 2 * PRODUCTS) {
        uint32_t both[10];
        for (size_t i = 0; i < 10; i++) {
            const int8_t *const from = x + column + i;
            both[i] = column + i < k ? (uint32_t)*from + ((uint32_t)from[x_stride] << 16) : 0;
        }
        make_table(products, both);
        make_table(products + PRODUCTS, both + 5);
    }
}
