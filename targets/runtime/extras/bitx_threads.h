/* bitx_threads.h - a pool of POSIX threads for bitx_config.parallel_for.
 *
 *     bitx_threads threads;
 *     bitx_threads_start(&threads, 4);
 *     config.parallel_for = bitx_threads_for;
 *     config.parallel_context = &threads;
 *
 * Outside the core.  The number of threads never changes a bit of any result.
 */
#ifndef BITX_THREADS_H
#define BITX_THREADS_H

#include "bitexport.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BITX_MOST_THREADS = 64 };

/* Belongs to the caller, who must not move it while threads run.  Its members are private. */
typedef struct bitx_threads {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t work, done;
    pthread_t thread[BITX_MOST_THREADS];
    unsigned started;
    int busy, stopping;
    bitx_task task;
    void *argument;
    size_t count, taken, finished; /* taken and finished: how many of the indices */
} bitx_threads;

/* Makes `count` threads work, the caller of bitx_threads_for() being one of them.  Returns 0, or
 * an errno value after which nothing runs. */
int bitx_threads_start(bitx_threads *threads, unsigned count);

/* A bitx_parallel_for; context is a bitx_threads.  While one job runs, whoever brings another
 * computes that one alone. */
void bitx_threads_for(void *context, bitx_task task, void *argument, size_t count);

/* When no job runs. */
void bitx_threads_stop(bitx_threads *threads);

#ifdef __cplusplus
}
#endif
#endif /* BITX_THREADS_H */
