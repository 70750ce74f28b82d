/* utf8.h - characters. */
#ifndef BITX_UTF8_H
#define BITX_UTF8_H

#include "memory.h"

enum {
    BITX_REPLACEMENT = 0xFFFD,
    BITX_LOWER_BLOCK = 0x2581, /* SentencePiece's space */
    BITX_LOWER_BLOCK_BYTES = 3,
    BITX_LAST_CODE_POINT = 0x10FFFF
};

/* Where the first ill-formed sequence begins; `count`: nowhere. */
size_t bitx_utf8_check(const uint8_t *bytes, size_t count);

/* Of the `count` >= 1 bytes at hand, the length of the character they begin with; 0: these bytes
 * may still become one; negative: so many of them never will, a maximal subpart. */
int bitx_utf8_length(const uint8_t *bytes, size_t count);

/* The character at `at`, which lies before `end`, and its length.  Reads nothing at or behind the
 * end, whatever the bytes are. */
static inline uint32_t bitx_utf8_read(const uint8_t *at, const uint8_t *end, uint32_t *length)
{
    const size_t left = (size_t)(end - at);

    *length = 1;
    if (at[0] < 0x80) return at[0];
    if (at[0] < 0xE0 && left >= 2) {
        *length = 2;
        return (at[0] & 0x1Fu) << 6 | (at[1] & 0x3Fu);
    }
    if (at[0] >= 0xE0 && at[0] < 0xF0 && left >= 3) {
        *length = 3;
        return (at[0] & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
    }
    if (at[0] >= 0xF0 && left >= 4) {
        const uint32_t point =
            (at[0] & 0x07u) << 18 | (at[1] & 0x3Fu) << 12 | (at[2] & 0x3Fu) << 6 | (at[3] & 0x3Fu);
        *length = 4;
        return point <= BITX_LAST_CODE_POINT ? point : BITX_REPLACEMENT;
    }
    return BITX_REPLACEMENT;
}

/* Where the last character before `at` begins, not before `start`. */
static inline const uint8_t *bitx_utf8_before(const uint8_t *start, const uint8_t *at)
{
    const uint8_t *const least = at - start > 4 ? at - 4 : start;
    do
        at--;
    while (at > least && (*at & 0xC0) == 0x80);
    return at;
}

/* Writes a character, at most 4 bytes; returns how many. */
static inline uint32_t bitx_utf8_write(uint8_t *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    const uint8_t last = (uint8_t)(0x80 | (point & 0x3F));
    if (point < 0x800) {
        to[0] = (uint8_t)(0xC0 | point >> 6);
        to[1] = last;
        return 2;
    }
    const uint8_t third = (uint8_t)(0x80 | (point >> 6 & 0x3F));
    if (point < 0x10000) {
        to[0] = (uint8_t)(0xE0 | point >> 12);
        to[1] = third;
        to[2] = last;
        return 3;
    }
    to[0] = (uint8_t)(0xF0 | (point >> 18 & 7));
    to[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
    to[2] = third;
    to[3] = last;
    return 4;
}

#endif /* BITX_UTF8_H */
