/* fuzz_cases.c - check_cases.c under libFuzzer: no bytes whatever make the text functions stumble.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -std=c11 \
 *         $(find targets/runtime tests/kernels tests/text -name '*.h' -printf '-I%h\n' | sort -u) \
 *         targets/runtime/src/text/[a-z]*.c targets/runtime/src/{sha256,floats,generate/sample}.c \
 *         tests/text/check_cases.c tests/text/fuzz_cases.c -o fuzz
 *     ./fuzz -max_len=32768 NEW tests/text/corpus/encode
 *
 * With -DFUZZ_ALONE and any compiler it is a program that takes each file as it is, then changed
 * at random so many times: fuzz CHANGES FILE...
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>

#include "fuzz_alone.h"
#include "runner.h"

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
