/* sys/stat.h - what the runtime uses of bionic's <sys/stat.h>, with its numbers (Linux) and sizes.
 */
#ifndef BIONIC_STAT_H
#define BIONIC_STAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __x86_64__
#define BEFORE_MODE 24
#else
#define BEFORE_MODE 16
#endif

/* The members that are read, each where Linux has it. */
struct stat {
    uint8_t before_mode[BEFORE_MODE];
    uint32_t st_mode;
    uint8_t before_size[48 - BEFORE_MODE - 4];
    int64_t st_size;
    uint8_t behind[88];
};

#define S_ISREG(mode) (((mode) & 0170000) == 0100000)

int fstat(int file, struct stat *facts);

#endif /* BIONIC_STAT_H */
