/* check_t5x3.h - the bytes of W in layout t5x3 that the checking programs of its kernels try. */
#ifndef BITX_CHECK_T5X3_H
#define BITX_CHECK_T5X3_H

#include "check.h"

static const char *const t5x3_names[] = {"minus", "plus", "random", "bytes", "highest"};

enum { T5X3_PATTERNS = sizeof t5x3_names / sizeof *t5x3_names, T5X3_ROWS = 12 };

static inline size_t t5x3_stride(size_t k)
{
    return k / 32 * 80;
}

/* Byte i of W; the state is that of next_byte().  Every code of "plus" is 26, of "highest" 31. */
static inline uint8_t t5x3_byte(size_t pattern, size_t i, uint32_t *state)
{
    const uint8_t choices[] = {0x00, i / 16 % 5 % 2 ? 0xD7 : 0xD2, next_byte(state),
                               (uint8_t)(i * 167 + i / 256), 0xFF};
    return choices[pattern];
}

static inline void print_case(bitx_isa isa, const size_t *numbers, size_t count)
{
    print(bitx_isa_name(isa));
    for (size_t i = 0; i < count; i++) {
        print(" ");
        print_number(numbers[i]);
    }
    print(" ");
}

#endif /* BITX_CHECK_T5X3_H */
