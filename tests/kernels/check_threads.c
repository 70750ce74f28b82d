/* check_threads.c - give a pool many jobs and count how often every index ran.
 *
 * Counters are plain bytes: a sanitizer sees two threads at one index, and a caller that returns
 * before the last task is done.  A line: <kind> <threads> <jobs> <indices> <run exactly once>.
 */
#define _POSIX_C_SOURCE 200809L

#include "bitx_threads.h"
#include "check.h"

enum { MOST = 256, CALLERS = 3 };

typedef struct job {
    uint8_t runs[MOST];
    bitx_threads *pool; /* of a task that brings a job of its own; else null */
    uint32_t spin;
} job;

typedef struct tally {
    size_t jobs, indices, once;
} tally;

static void run_once(void *argument, size_t index)
{
    job *const j = argument;
    volatile uint32_t waste = 0;

    for (uint32_t i = 0; i < j->spin * (uint32_t)(index % 5); i++)
        waste += i;
    j->runs[index]++;
    if (j->pool) {
        job inner = {.pool = NULL};
        bitx_threads_for(j->pool, run_once, &inner, 3);
        if (inner.runs[0] != 1 || inner.runs[1] != 1 || inner.runs[2] != 1) j->runs[index] = 99;
    }
}

/* Each job is as large as the next random byte says. */
static tally give(bitx_threads *pool, bitx_threads *nested, size_t jobs, uint32_t seed)
{
    tally sum = {.jobs = jobs};

    for (size_t n = 0; n < jobs; n++) {
        job j = {.pool = nested};
        const size_t count = next_byte(&seed);
        j.spin = (uint32_t)(n % 7 * n % 11);
        bitx_threads_for(pool, run_once, &j, count);
        for (size_t i = 0; i < count; i++)
            sum.once += j.runs[i] == 1;
        sum.indices += count;
    }
    return sum;
}

static void report(const char *kind, size_t threads, tally sum)
{
    print(kind);
    print(" ");
    print_number(threads);
    print(" ");
    print_number(sum.jobs);
    print(" ");
    print_number(sum.indices);
    print(" ");
    print_number(sum.once);
    print("\n");
}

static void check_one_caller(bitx_threads *pool, unsigned threads)
{
    report("alone", threads, give(pool, NULL, 1500, threads));
}

static void check_jobs_in_jobs(bitx_threads *pool, unsigned threads)
{
    report("nested", threads, give(pool, pool, 100, threads));
}

typedef struct caller {
    pthread_t thread;
    bitx_threads *pool;
    uint32_t seed;
    tally sum;
} caller;

static void *call(void *argument)
{
    caller *const c = argument;
    c->sum = give(c->pool, NULL, 300, c->seed);
    return NULL;
}

static void check_many_callers(bitx_threads *pool, unsigned threads)
{
    caller callers[CALLERS];
    tally sum = {0, 0, 0};

    for (uint32_t i = 0; i < CALLERS; i++) {
        callers[i].pool = pool;
        callers[i].seed = i;
        if (pthread_create(&callers[i].thread, NULL, call, &callers[i]) != 0) return;
    }
    for (uint32_t i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        sum.jobs += callers[i].sum.jobs;
        sum.indices += callers[i].sum.indices;
        sum.once += callers[i].sum.once;
    }
    report("together", threads, sum);
}

/* A pool may stop at once, after one job, or while its threads still wake up. */
static void check_short_lives(unsigned threads)
{
    tally sum = {0, 0, 0};

    for (uint32_t life = 0; life < 100; life++) {
        bitx_threads pool;
        if (bitx_threads_start(&pool, threads) != 0) return;
        const tally one = give(&pool, NULL, life % 3, life);
        bitx_threads_stop(&pool);
        sum.jobs += one.jobs;
        sum.indices += one.indices;
        sum.once += one.once;
    }
    report("short", threads, sum);
}

int runner_run(int count, char **words)
{
    static const unsigned threads[] = {1, 2, 3, 8};

    (void)count;
    (void)words;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        bitx_threads pool;
        if (bitx_threads_start(&pool, threads[i]) != 0) return 1;
        check_one_caller(&pool, threads[i]);
        check_jobs_in_jobs(&pool, threads[i]);
        check_many_callers(&pool, threads[i]);
        bitx_threads_stop(&pool);
        check_short_lives(threads[i]);
    }
    print("end\n");
    return 0;
}
