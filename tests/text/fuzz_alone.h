/* fuzz_alone.h - with -DFUZZ_ALONE a fuzzer is a program that any compiler makes: it takes each
 * file as it is, then changed at random so many times: fuzz CHANGES FILE...
 */
#ifndef BITX_FUZZ_ALONE_H
#define BITX_FUZZ_ALONE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#ifdef FUZZ_ALONE
static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Changes one to four bytes, or a word, or cuts the end off. */
static size_t change(uint8_t *data, size_t bytes, uint32_t *state)
{
    static const uint32_t words[] = {0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF};

    if (bytes < 8) return bytes;
    switch (next(state) % 8) {
    case 0: return next(state) % bytes;
    case 1:
    case 2: {
        const uint32_t word = words[next(state) % 6] + next(state) % 3;
        const size_t at = next(state) % (bytes / 4) * 4;
        for (size_t i = 0; i < 4; i++)
            data[at + i] = (uint8_t)(word >> 8 * i);
        return bytes;
    }
    default:
        for (uint32_t i = next(state) % 4 + 1; i > 0; i--)
            data[next(state) % bytes] ^= (uint8_t)(1u << next(state) % 8);
        return bytes;
    }
}

int main(int count, char **words)
{
    uint32_t state = 1;

    for (int i = 2; i < count; i++) {
        static uint8_t file[1 << 20], changed[1 << 20];
        FILE *const stream = fopen(words[i], "rb");
        if (!stream) return 2;
        const size_t bytes = fread(file, 1, sizeof file, stream);
        (void)fclose(stream);
        (void)LLVMFuzzerTestOneInput(file, bytes);
        for (int n = 0; n < atoi(words[1]); n++) {
            for (size_t at = 0; at < bytes; at++)
                changed[at] = file[at];
            const size_t left = change(changed, bytes, &state);
            uint8_t *const exact = malloc(left ? left : 1);
            if (!exact) return 2;
            for (size_t at = 0; at < left; at++)
                exact[at] = changed[at];
            (void)LLVMFuzzerTestOneInput(exact, left);
            free(exact);
        }
    }
    printf("%d files\n", count - 2);
    return 0;
}
#endif

#endif /* BITX_FUZZ_ALONE_H */
