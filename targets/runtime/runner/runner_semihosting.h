/* runner_semihosting.h - between start_cortex_m.c and runner_semihosting.c. */
#ifndef BITX_RUNNER_SEMIHOSTING_H
#define BITX_RUNNER_SEMIHOSTING_H

#include "runner.h"

/* Runs the command line that the debugger hands over, then ends the run.  Does not return. */
void runner_main(void);

/* Ends the run with an exit status.  Does not return. */
void runner_exit(int code);

/* Compilers call these by name; there is no C library to bring them. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

#endif /* BITX_RUNNER_SEMIHOSTING_H */
