/* bitx_threads.c - work is taken, not assigned.
 *
 * A ticket says which job there is and how many of its indices nobody has taken.  A thread reads
 * the ticket, then the job, and takes indices by compare-and-swap of the ticket.  If that succeeds
 * the job cannot end before this thread finishes, so what it read is this job; a thread that comes
 * late fails there and has touched nothing but the pool.  A number of a job returns after 2^32 of
 * them.  Nobody waits for a thread that holds no index, and there is no lock that a sleeping thread
 * could hold.
 *
 * tests/kernels/test_threads_model.py enumerates what may happen under the orders written here.
 */
#define _POSIX_C_SOURCE 200809L

#include "bitx_threads.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

enum {
    MOST_AT_ONCE = 4, /* indices; well below 100 us of work */
    POLLS = 64,       /* between two looks at the clock */
    HOPE_NS = 10000,  /* how long a thread polls before it sleeps: about what waking it costs */
    WORTH_WAKING_NS = 20000 /* of work that is left */
};
#define CALLER_SLEEPS (1u << 31)

/* ---- Waiting ------------------------------------------------------------------------------- */

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int comes_soon(bitx_threads *t, int (*has_come)(bitx_threads *))
{
    const int64_t end = nanoseconds() + HOPE_NS;
    do
        for (int i = 0; i < POLLS; i++)
            if (has_come(t)) return 1;
    while (nanoseconds() < end);
    return 0;
}

static void sleep_on(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR)
        ;
}

static int work_has_come(bitx_threads *t)
{
    return (uint32_t)atomic_load_explicit(&t->ticket, memory_order_relaxed) != 0 ||
           atomic_load_explicit(&t->stopping, memory_order_relaxed);
}

/* Whether this thread is no longer one that sleeps; else somebody set out to wake one. */
static int withdraw(bitx_threads *t)
{
    uint32_t sleepers = atomic_load_explicit(&t->sleepers, memory_order_relaxed);
    while (sleepers > 0)
        if (atomic_compare_exchange_weak_explicit(&t->sleepers, &sleepers, sleepers - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return 1;
    return 0;
}

/* Either wake() counts this thread, or this thread sees what wake() was called for. */
static void wait_for_work(bitx_threads *t)
{
    if (comes_soon(t, work_has_come)) return;
    atomic_fetch_add_explicit(&t->sleepers, 1, memory_order_acquire);
    if (work_has_come(t) && withdraw(t)) return;
    sleep_on(&t->work);
}

/* Wakes up to `most` threads; each that it counts off is woken once.  Swaps even zero for zero. */
static void wake(bitx_threads *t, uint32_t most)
{
    uint32_t sleepers = atomic_load_explicit(&t->sleepers, memory_order_relaxed), woken;
    do
        woken = sleepers < most ? sleepers : most;
    while (!atomic_compare_exchange_weak_explicit(&t->sleepers, &sleepers, sleepers - woken,
                                                  memory_order_release, memory_order_relaxed));
    for (; woken > 0; woken--)
        sem_post(&t->work);
}

static int end_has_come(bitx_threads *t)
{
    return atomic_load_explicit(&t->unfinished, memory_order_acquire) == 0;
}

/* Waits for indices that others took. */
static void wait_for_end(bitx_threads *t)
{
    if (comes_soon(t, end_has_come)) return;
    if (atomic_fetch_add_explicit(&t->unfinished, CALLER_SLEEPS, memory_order_acquire) == 0) return;
    sleep_on(&t->done);
}

/* ---- Working ------------------------------------------------------------------------------- */

/* One by one at the end of a job, so that threads end together. */
static uint32_t at_once(const bitx_threads *t, uint32_t left)
{
    return left < 4 * MOST_AT_ONCE * t->threads ? 1 : MOST_AT_ONCE;
}

/* Who finishes the last indices has seen what all others wrote, and passes it on. */
static void finish(bitx_threads *t, uint32_t indices)
{
    const uint32_t before =
        atomic_fetch_sub_explicit(&t->unfinished, indices, memory_order_acq_rel);
    if (before == (CALLER_SLEEPS | indices)) sem_post(&t->done);
}

/* Takes a few indices and runs them; returns how many, 0 when none is left. */
static uint32_t work_a_little(bitx_threads *t)
{
    for (;;) {
        uint64_t ticket = atomic_load_explicit(&t->ticket, memory_order_acquire);
        const uint32_t left = (uint32_t)ticket, taken = at_once(t, left);
        if (left == 0) return 0;

        const bitx_task task = atomic_load_explicit(&t->task, memory_order_relaxed);
        void *const argument = atomic_load_explicit(&t->argument, memory_order_relaxed);
        const size_t first = atomic_load_explicit(&t->count, memory_order_relaxed) - left;
        if (!atomic_compare_exchange_weak_explicit(&t->ticket, &ticket, ticket - taken,
                                                   memory_order_relaxed, memory_order_relaxed))
            continue;

        for (uint32_t i = 0; i < taken; i++)
            task(argument, first + i);
        finish(t, taken);
        return taken;
    }
}

static void work_off(bitx_threads *t)
{
    while (work_a_little(t) > 0)
        ;
}

/* Takes the first indices, and wakes others if the rest will take long enough to be worth it. */
static void work_and_wake(bitx_threads *t)
{
    const int64_t start = nanoseconds();
    const uint32_t done = work_a_little(t);
    const uint32_t left = (uint32_t)atomic_load_explicit(&t->ticket, memory_order_relaxed);
    if (left > 0 && (nanoseconds() - start) * left > (int64_t)WORTH_WAKING_NS * done) wake(t, left);
}

static void *serve(void *context)
{
    bitx_threads *t = context;
    while (!atomic_load_explicit(&t->stopping, memory_order_relaxed)) {
        work_off(t);
        wait_for_work(t);
    }
    return NULL;
}

/* Whether the job became the pool's: not if another one runs. */
static int begin(bitx_threads *t, bitx_task task, void *argument, size_t count)
{
    if (count >= CALLER_SLEEPS) return 0;
    if (atomic_exchange_explicit(&t->busy, 1, memory_order_acquire)) return 0;
    const uint64_t last = atomic_load_explicit(&t->ticket, memory_order_relaxed);
    atomic_store_explicit(&t->task, task, memory_order_relaxed);
    atomic_store_explicit(&t->argument, argument, memory_order_relaxed);
    atomic_store_explicit(&t->count, (uint32_t)count, memory_order_relaxed);
    atomic_store_explicit(&t->unfinished, (uint32_t)count, memory_order_relaxed);
    atomic_store_explicit(&t->ticket, ((last >> 32) + 1) << 32 | count, memory_order_release);
    return 1;
}

void bitx_threads_for(void *context, bitx_task task, void *argument, size_t count)
{
    bitx_threads *t = context;
    if (count > 1 && begin(t, task, argument, count)) {
        work_and_wake(t);
        work_off(t);
        wait_for_end(t);
        atomic_store_explicit(&t->busy, 0, memory_order_release);
        return;
    }
    for (size_t i = 0; i < count; i++)
        task(argument, i);
}

/* ---- The pool ------------------------------------------------------------------------------ */

int bitx_threads_start(bitx_threads *threads, unsigned count)
{
    if (count == 0 || count > BITX_MOST_THREADS) return EINVAL;
    *threads = (bitx_threads){.threads = count};
    sem_init(&threads->work, 0, 0);
    sem_init(&threads->done, 0, 0);
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

void bitx_threads_stop(bitx_threads *threads)
{
    atomic_store_explicit(&threads->stopping, 1, memory_order_relaxed);
    wake(threads, BITX_MOST_THREADS);
    while (threads->started > 0)
        pthread_join(threads->thread[--threads->started], NULL);
    sem_destroy(&threads->done);
    sem_destroy(&threads->work);
}
