/* bitx_map.h - map a .bitx file into memory, read-only (POSIX).
 *
 * Outside the core: it asks the operating system, which the core never does.
 */
#ifndef BITX_MAP_H
#define BITX_MAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitx_map {
    const void *blob; /* aligned to a page; null when nothing is mapped */
    size_t bytes;
} bitx_map;

/* Returns 0, or an errno value.  Pages are read when they are first used, and may be dropped again
 * when memory is short: weights cost no dirty memory. */
int bitx_map_open(bitx_map *map, const char *path);

/* The same of a whole file that is open for reading; it may be closed afterwards. */
int bitx_map_descriptor(bitx_map *map, int file);

/* After every model and session on the blob is done with. */
void bitx_map_close(bitx_map *map);

#ifdef __cplusplus
}
#endif
#endif /* BITX_MAP_H */
