/* fuzz_cases.c - check_cases.c under libFuzzer: no bytes whatever make the text functions stumble.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -std=c11 \
 *         $(find targets/runtime tests/kernels -name '*.h' -printf '-I%h\n' | sort -u) \
 *         targets/runtime/src/text/[a-z]*.c targets/runtime/src/{sha256,generate/sample}.c \
 *         tests/text/check_cases.c tests/text/fuzz_cases.c -o fuzz
 *     ./fuzz -max_len=32768 NEW tests/text/corpus/encode
 *
 * With -DFUZZ_ALONE and any compiler it is a program that takes each file as it is, then changed
 * at random so many times: fuzz CHANGES FILE...
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>

#include "runner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { MOST_BLOCKS = 1 << 16 };

static struct {
    const void *blob;
    size_t bytes;
    void *blocks[MOST_BLOCKS];
    size_t count;
} input;

const void *runner_blob(const char *path, size_t *bytes)
{
    (void)path;
    *bytes = input.bytes;
    return input.blob;
}

void *runner_allocate(size_t bytes)
{
    void *block = NULL;
    if (input.count == MOST_BLOCKS || posix_memalign(&block, 64, bytes ? bytes : 1) != 0) exit(2);
    input.blocks[input.count++] = block;
    return block;
}

void runner_write(const char *text, size_t bytes)
{
    (void)text;
    (void)bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    input.blob = data;
    input.bytes = bytes;
    (void)runner_run(0, NULL);
    while (input.count > 0)
        free(input.blocks[--input.count]);
    return 0;
}

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
