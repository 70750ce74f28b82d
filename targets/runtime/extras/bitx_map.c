/* bitx_map.c - open, fstat, mmap. */
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64 /* a length beyond 2 GiB must not come back as a small one */

#include "bitx_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int bitx_map_descriptor(bitx_map *map, int file)
{
    *map = (bitx_map){NULL, 0};
    struct stat facts;
    if (fstat(file, &facts) != 0) return errno;
    if (!S_ISREG(facts.st_mode) || facts.st_size <= 0) return EINVAL;
    if ((uint64_t)facts.st_size > SIZE_MAX) return EFBIG;

    const size_t bytes = (size_t)facts.st_size;
    void *blob = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (blob == MAP_FAILED) return errno;
    *map = (bitx_map){blob, bytes};
    return 0;
}

int bitx_map_open(bitx_map *map, const char *path)
{
    *map = (bitx_map){NULL, 0};
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return errno;
    const int failure = bitx_map_descriptor(map, file);
    (void)close(file); /* the mapping stays */
    return failure;
}

void bitx_map_close(bitx_map *map)
{
    if (map->blob) (void)munmap((void *)(uintptr_t)map->blob, map->bytes);
    *map = (bitx_map){NULL, 0};
}
