/* runner_bare.h - between start_cortex_m.c, runner_bare.c, and what serves the board: a debugger
 * (runner_semihosting.c) or a serial line (runner_serial.c).
 */
#ifndef BITX_RUNNER_BARE_H
#define BITX_RUNNER_BARE_H

#include "runner.h"

enum { RUNNER_MOST_WORDS = 64 };

/* Serves whoever is there.  Does not return. */
void runner_main(void);

/* runner_run() of talk.c, where both are in one program. */
int runner_talk(int count, char **words);

/* Ends the run with an exit status.  Does not return. */
void runner_exit(int code);

/* Takes back all memory that runner_allocate() handed out, but for the first bytes. */
void runner_forget(size_t kept);

/* Cuts a line at its spaces, in place; returns how many words there are.  What comes before the
 * first option is dropped: the program's name. */
int runner_cut(char *line, char *words[RUNNER_MOST_WORDS]);

/* Compilers call these by name; there is no C library to bring them. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

#endif /* BITX_RUNNER_BARE_H */
