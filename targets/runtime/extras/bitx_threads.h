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
#include <semaphore.h>

#ifdef __cplusplus
#include <atomic>
#define BITX_ATOMIC(type) std::atomic<type>
extern "C" {
#else
#define BITX_ATOMIC(type) _Atomic(type)
#endif

enum { BITX_MOST_THREADS = 64 };

/* Belongs to the caller, who must not move it while threads run.  Its members are private. */
typedef struct bitx_threads {
    BITX_ATOMIC(uint64_t) ticket; /* high half: which job; low half: indices that nobody took */
    BITX_ATOMIC(bitx_task) task;
    BITX_ATOMIC(void *) argument;
    BITX_ATOMIC(uint32_t) count;
    uint8_t apart[64];                /* who finishes an index does not disturb who takes one */
    BITX_ATOMIC(uint32_t) unfinished; /* indices; the highest bit says that the caller sleeps */
    BITX_ATOMIC(uint32_t) sleepers;   /* threads that sleep and that nobody set out to wake */
    BITX_ATOMIC(uint32_t) busy, stopping;
    sem_t work, done;
    pthread_t thread[BITX_MOST_THREADS];
    unsigned threads, started; /* the caller counts among the first, not among the second */
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
