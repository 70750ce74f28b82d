/* check_p2r.h - the bytes of W in layout p2r that the checking programs of its kernels try. */
#ifndef BITX_CHECK_P2R_H
#define BITX_CHECK_P2R_H

#include "check.h"

static const char *const p2r_names[] = {"minus", "plus", "trits", "bytes", "lowest", "highest"};

enum { P2R_PATTERNS = sizeof p2r_names / sizeof *p2r_names };

/* Three codes at random, and where a random code is the fourth, a zero. */
static inline uint8_t trits(uint8_t random)
{
    uint32_t byte = 0;
    for (uint32_t field = 0; field < 4; field++) {
        const uint32_t two = random >> 2 * field & 3, code = two == 3 ? 1 : two;
        byte |= (field < 3 ? code : (code + 3) & 3) << 2 * field;
    }
    return (uint8_t)byte;
}

/* Byte i of W; the state is that of next_byte(). */
static inline uint8_t p2r_byte(size_t pattern, size_t i, uint32_t *state)
{
    const uint8_t choices[] = {0xC0, 0x6A, trits(next_byte(state)), (uint8_t)(i * 167 + i / 256),
                               0x80, 0x7F};
    return choices[pattern];
}

#endif /* BITX_CHECK_P2R_H */
