/* runner.h - what the runner needs of the machine it runs on.
 *
 * runner.c is the same everywhere; beside it runner_posix.c, runner_semihosting.c or
 * runner_serial.c is linked.
 */
#ifndef BITX_RUNNER_H
#define BITX_RUNNER_H

#include "bitexport.h"

/* Runs what the words ask for and returns the exit status of the program.  words[count] is not
 * read. */
int runner_run(int count, char **words);

/* Maps the model.  Where the model is linked into the program, path is not looked at.  Null, when
 * there is no such file. */
const void *runner_blob(const char *path, size_t *bytes);

/* Reads a whole file.  Null, when it cannot be read or there is no memory. */
const void *runner_read(const char *path, size_t *bytes);

/* Writes a whole file, over one that is there.  Whether it is written. */
int runner_save(const char *path, const void *bytes, size_t count);

/* Hands out memory that is aligned to 64 bytes and never returned.  Null, when there is none. */
void *runner_allocate(size_t bytes);

/* Hands out a pool of that many threads, the caller's among them.  Null, when there is none. */
bitx_parallel_for runner_threads(uint32_t threads, void **context);

/* Writes to the standard output, at once. */
void runner_write(const char *text, size_t bytes);

#endif /* BITX_RUNNER_H */
