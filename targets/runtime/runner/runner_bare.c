/* runner_bare.c - what the runner has of any board without an operating system.
 *
 * The model is linked in (blob.S); memory is what the linker script leaves.  There is no C library,
 * so the four functions that compilers call are here.
 */
#include "runner_bare.h"

extern const uint8_t runner_blob_start[], runner_blob_end[];
extern uint8_t runner_memory_start[], runner_memory_end[];

static uint8_t *next = runner_memory_start; /* aligned to 64 by the linker script */

/* Keeps the compiler from seeing a memcpy in the loop that is one. */
#define ONE_BY_ONE __asm__ volatile("" ::: "memory")

const void *runner_blob(const char *path, size_t *bytes)
{
    (void)path;
    *bytes = (size_t)(runner_blob_end - runner_blob_start);
    return runner_blob_start;
}

void *runner_allocate(size_t bytes)
{
    uint8_t *const block = next;

    if (bytes > (size_t)(runner_memory_end - next)) return NULL;
    next += bytes;
    const size_t left = (size_t)(runner_memory_end - next), unused = -(uintptr_t)next & 63u;
    next += unused < left ? unused : left;
    return block;
}

void runner_forget(size_t kept)
{
    next = runner_memory_start;
    (void)runner_allocate(kept);
}

bitx_parallel_for runner_threads(uint32_t threads, void **context)
{
    (void)threads;
    *context = NULL;
    return NULL;
}

int runner_cut(char *line, char *words[RUNNER_MOST_WORDS])
{
    int count = 0;

    for (char *at = line; *at;) {
        while (*at == ' ')
            *at++ = '\0';
        if (*at && (count > 0 || *at == '-') && count < RUNNER_MOST_WORDS) words[count++] = at;
        while (*at && *at != ' ')
            at++;
    }
    return count;
}

/* ---- What compilers call ------------------------------------------------------------------- */

static void copy_upwards(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] = from[i];
        ONE_BY_ONE;
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    copy_upwards(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    if ((uintptr_t)to <= (uintptr_t)from) {
        copy_upwards(to, from, bytes);
        return to;
    }
    for (size_t i = bytes; i-- > 0;) {
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
        ONE_BY_ONE;
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((uint8_t *)to)[i] = (uint8_t)value;
        ONE_BY_ONE;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const int difference = ((const uint8_t *)a)[i] - ((const uint8_t *)b)[i];
        if (difference != 0) return difference;
    }
    return 0;
}
