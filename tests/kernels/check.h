/* check.h - what the checking programs of this folder share.
 *
 * A checking program is linked like the runner (targets/runtime/runner) with runner_run() of its
 * own, so it runs wherever a model does.  It prints facts; Python judges them.
 */
#ifndef BITX_CHECK_PROGRAM_H
#define BITX_CHECK_PROGRAM_H

#include "kernels.h"
#include "runner.h"
#include "runner_print.h"
#include "sha256.h"

enum { GUARD = 64, POISON = 0x5A };

/* ---- Printing ------------------------------------------------------------------------------ */

static inline void print_digest(bitx_sha256 *hash)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[BITX_SHA256_BYTES];
    char text[33] = "";

    bitx_sha256_end(hash, digest);
    for (size_t i = 0; i < 32; i++)
        text[i] = hex[digest[i / 2] >> (4 - i % 2 * 4) & 15];
    print(text);
}

/* ---- Buffers between poisoned bytes -------------------------------------------------------- */

typedef struct buffer {
    uint8_t *memory;
    size_t bytes; /* of the part in the middle */
} buffer;

/* Room for a middle of at most so many bytes; without room, says so and ends in a null pointer. */
static inline buffer make_buffer(size_t most)
{
    buffer made = {runner_allocate(most + 2 * GUARD), 0};
    if (!made.memory) print("no memory\n");
    return made;
}

/* Returns the middle, of so many bytes, and poisons what lies before and after it. */
static inline void *poisoned(buffer *b, size_t bytes)
{
    b->bytes = bytes;
    for (size_t i = 0; i < GUARD; i++)
        b->memory[i] = b->memory[GUARD + bytes + i] = POISON;
    return b->memory + GUARD;
}

/* How many bytes before and after it are poisoned no more. */
static inline size_t damage(const buffer *b)
{
    size_t changed = 0;
    for (size_t i = 0; i < GUARD; i++)
        changed +=
            (size_t)(b->memory[i] != POISON) + (size_t)(b->memory[GUARD + b->bytes + i] != POISON);
    return changed;
}

/* ---- Bytes that Python can make too -------------------------------------------------------- */

static inline uint8_t next_byte(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint8_t)(*state >> 24);
}

/* Fills x with one of "low", "high", "code" (the lowest of QuantizeRows) and "random". */
static inline void fill_x(int8_t *x, size_t k, const char *pattern)
{
    uint32_t state = 1;
    for (size_t i = 0; i < k; i++)
        x[i] = (int8_t)(pattern[0] == 'l'   ? -128
                        : pattern[0] == 'h' ? 127
                        : pattern[0] == 'c' ? -127
                                            : next_byte(&state));
}

#endif /* BITX_CHECK_PROGRAM_H */
