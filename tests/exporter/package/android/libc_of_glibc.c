/* libc_of_glibc.c - a libc.so for tests: what bionic calls otherwise; the rest is glibc's own. */
#include <errno.h>

int *__errno(void);

int *__errno(void)
{
    return &errno;
}
