/* memory.h - bytes and sizes.  Builtins, because a freestanding memcpy() is never inlined. */
#ifndef BITX_MEMORY_H
#define BITX_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a .bitx file is little-endian, and so must be the core that reads it"
#endif

enum { BITX_ALIGNMENT = 64 };

static inline void bitx_copy(void *to, const void *from, size_t bytes)
{
    __builtin_memcpy(to, from, bytes);
}

static inline void bitx_zero(void *bytes, size_t count)
{
    __builtin_memset(bytes, 0, count);
}

static inline int bitx_same(const void *a, const void *b, size_t bytes)
{
    return __builtin_memcmp(a, b, bytes) == 0;
}

static inline int bitx_all_zero(const uint8_t *bytes, size_t count)
{
    while (count > 0 && bytes[count - 1] == 0)
        count--;
    return count == 0;
}

static inline int bitx_is_aligned(const void *pointer)
{
    return ((uintptr_t)pointer & (BITX_ALIGNMENT - 1)) == 0;
}

static inline uint64_t bitx_round_up(uint64_t size, uint64_t power_of_two)
{
    return (size + power_of_two - 1) & ~(power_of_two - 1);
}

/* floor(a / b) for b > 0, also on cores without a divider: no library has it for them. */
static inline uint32_t bitx_divide(uint32_t a, uint32_t b)
{
#if !defined(__arm__) || defined(__ARM_FEATURE_IDIV)
    return a / b;
#else
    uint32_t quotient = 0, rest = 0;
    for (int bit = 31; bit >= 0; bit--) {
        const uint32_t carry = rest >> 31;
        rest = rest << 1 | (a >> bit & 1);
        if (carry || rest >= b) {
            rest -= b;
            quotient |= 1u << bit;
        }
    }
    return quotient;
#endif
}

#endif /* BITX_MEMORY_H */
