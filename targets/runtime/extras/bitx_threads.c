/* bitx_threads.c - work is taken, not assigned.
 *
 * A job is over when every index is finished, so at that moment nobody holds one: what a thread
 * takes under the mutex always belongs to the job that is there.  A thread that took nothing may
 * sleep through a whole job; nobody waits for it.
 */
#define _POSIX_C_SOURCE 200809L

#include "bitx_threads.h"

#include <errno.h>

/* Takes and runs indices until none is left.  Called, and returns, with the mutex held. */
static void work_off(bitx_threads *t)
{
    while (t->taken < t->count) {
        const bitx_task task = t->task;
        void *argument = t->argument;
        const size_t index = t->taken++;
        pthread_mutex_unlock(&t->mutex);
        task(argument, index);
        pthread_mutex_lock(&t->mutex);
        if (++t->finished == t->count) pthread_cond_signal(&t->done);
    }
}

static void *serve(void *context)
{
    bitx_threads *t = context;
    pthread_mutex_lock(&t->mutex);
    while (!t->stopping) {
        work_off(t);
        if (!t->stopping) pthread_cond_wait(&t->work, &t->mutex);
    }
    pthread_mutex_unlock(&t->mutex);
    return NULL;
}

int bitx_threads_start(bitx_threads *threads, unsigned count)
{
    if (count == 0 || count > BITX_MOST_THREADS) return EINVAL;
    *threads = (bitx_threads){.started = 0};
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->work, NULL);
    pthread_cond_init(&threads->done, NULL);
    while (threads->started + 1 < count) {
        const int failure =
            pthread_create(&threads->thread[threads->started], NULL, serve, threads);
        if (failure) {
            bitx_threads_stop(threads);
            return failure;
        }
        threads->started++;
    }
    return 0;
}

/* Whether the job became the pool's: not if another one runs. */
static int begin(bitx_threads *t, bitx_task task, void *argument, size_t count)
{
    if (t->busy) return 0;
    t->busy = 1;
    t->task = task;
    t->argument = argument;
    t->count = count;
    t->taken = t->finished = 0;
    pthread_cond_broadcast(&t->work);
    return 1;
}

void bitx_threads_for(void *context, bitx_task task, void *argument, size_t count)
{
    bitx_threads *t = context;
    pthread_mutex_lock(&t->mutex);
    const int mine = begin(t, task, argument, count);
    if (mine) {
        work_off(t);
        while (t->finished < count)
            pthread_cond_wait(&t->done, &t->mutex);
        t->busy = 0;
    }
    pthread_mutex_unlock(&t->mutex);
    if (mine) return;

    for (size_t i = 0; i < count; i++)
        task(argument, i);
}

void bitx_threads_stop(bitx_threads *threads)
{
    pthread_mutex_lock(&threads->mutex);
    threads->stopping = 1;
    pthread_cond_broadcast(&threads->work);
    pthread_mutex_unlock(&threads->mutex);
    while (threads->started > 0)
        pthread_join(threads->thread[--threads->started], NULL);
    pthread_cond_destroy(&threads->done);
    pthread_cond_destroy(&threads->work);
    pthread_mutex_destroy(&threads->mutex);
}
