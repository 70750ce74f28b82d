/* runner_posix.c - the runner on Linux. */
#define _POSIX_C_SOURCE 200809L

#include "runner.h"

#include <fcntl.h>
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

static int write_all(int file, const char *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t written = write(file, bytes, count);
        if (written <= 0) return 0;
        bytes += written;
        count -= (size_t)written;
    }
    return 1;
}

int runner_save(const char *path, const void *bytes, size_t count)
{
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (file < 0) return 0;
    const int written = write_all(file, bytes, count);
    return close(file) == 0 && written;
}

void runner_write(const char *text, size_t bytes)
{
    if (!write_all(STDOUT_FILENO, text, bytes)) exit(3);
}

int main(int count, char **words)
{
    return runner_run(count - 1, words + 1);
}
