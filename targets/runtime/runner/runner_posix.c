/* runner_posix.c - the runner on Linux. */
#define _POSIX_C_SOURCE 200809L

#include "runner.h"

#include <stdlib.h>
#include <unistd.h>

#include "bitx_map.h"
#include "bitx_threads.h"

/* Maps a file for as long as the program runs. */
static const void *map(const char *path, size_t *bytes)
{
    bitx_map file = {NULL, 0};

    if (path) (void)bitx_map_open(&file, path);
    *bytes = file.bytes;
    return file.blob;
}

const void *runner_blob(const char *path, size_t *bytes)
{
    return map(path, bytes);
}

const void *runner_read(const char *path, size_t *bytes)
{
    return map(path, bytes);
}

void *runner_allocate(size_t bytes)
{
    void *block = NULL;

    return posix_memalign(&block, 64, bytes ? bytes : 1) == 0 ? block : NULL;
}

bitx_parallel_for runner_threads(uint32_t threads, void **context)
{
    static bitx_threads pool;

    if (bitx_threads_start(&pool, threads) != 0) return NULL;
    *context = &pool;
    return bitx_threads_for;
}

void runner_write(const char *text, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t written = write(STDOUT_FILENO, text, bytes);
        if (written <= 0) exit(3);
        text += written;
        bytes -= (size_t)written;
    }
}

int main(int count, char **words)
{
    return runner_run(count - 1, words + 1);
}
