/* sys/mman.h - what the runtime uses of bionic's <sys/mman.h>, with its numbers (Linux) and sizes.
 */
#ifndef BIONIC_MMAN_H
#define BIONIC_MMAN_H

#include <stddef.h>

#define PROT_READ     1
#define PROT_WRITE    2
#define MAP_PRIVATE   2
#define MAP_ANONYMOUS 0x20
#define MAP_FAILED    ((void *)-1)

void *mmap(void *place, size_t bytes, int protection, int flags, int file, long offset);
int munmap(void *memory, size_t bytes);

#endif /* BIONIC_MMAN_H */
