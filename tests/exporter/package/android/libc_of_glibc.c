/* libc_of_glibc.c - a libc.so for tests: what bionic calls otherwise; the rest is glibc's own. */
#include <errno.h>

int *__errno(void);

int *__errno(void)
{
    return &errno;
}

#ifdef __arm__
/* Bionic's fstat() is what glibc calls fstat64(). */
int fstat64(int file, void *facts);
int fstat(int file, void *facts);

int fstat(int file, void *facts)
{
    return fstat64(file, facts);
}
#endif
