/* bench_model.c - time a model on this machine, for `bitexport bench model`.
 *
 *     bench_model [--isa <mask>] <model> <threads> <prefill> <decode> <context>...
 *     bench_model --read <threads>
 *
 * Contexts increase; the mask is that of bitx_config.  Linked as the runner is; Linux only.  Prints
 * facts, times in nanoseconds:
 *
 *     opened <t>   first <t>         since the program began: a session, the logits of a token
 *     decode <context> <t>...        each of `decode` tokens from that position on
 *     prefill <context> <tokens> <t> behind those of decode; of context 0 from the beginning
 *     arena <bytes>   peak <bytes>   of the session; resident so far
 *     op <code> <t>   unfused <t>    `decode` tokens from position 0 on, traced: by op, and in all
 *     read <bytes> <t>...            of memory, each time all of it, by all threads
 */
#define _POSIX_C_SOURCE 200809L

#include "runner_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "records.h"

enum { MOST_OPS = 256, PIECE = 1 << 18, PIECES = 1024, TIMES = 7 };

static size_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (size_t)now.tv_sec * 1000000000 + (size_t)now.tv_nsec;
}

static void print_fact(const char *name, size_t number)
{
    print(name);
    print(" ");
    print_number(number);
    print("\n");
}

/* ---- Memory -------------------------------------------------------------------------------- */

static volatile uint64_t sums[PIECES]; /* so that there is a reason to read */

static void read_piece(void *argument, size_t index)
{
    const uint64_t *words = (const uint64_t *)argument + index * (PIECE / sizeof *words);
    uint64_t sum[8] = {0};
    for (size_t i = 0; i < PIECE / sizeof *words; i += 8)
        for (size_t lane = 0; lane < 8; lane++)
            sum[lane] += words[i + lane];
    for (size_t lane = 1; lane < 8; lane++)
        sum[0] += sum[lane];
    sums[index] = sum[0];
}

static void run_each(bitx_parallel_for parallel_for, void *context, bitx_task task, void *argument)
{
    if (parallel_for)
        parallel_for(context, task, argument, PIECES);
    else
        for (size_t i = 0; i < PIECES; i++)
            task(argument, i);
}

static int time_reading(bitx_parallel_for parallel_for, void *context)
{
    uint64_t *words = runner_allocate((size_t)PIECE * PIECES);
    if (!words) return 1;
    for (size_t i = 0; i < (size_t)PIECE / sizeof *words * PIECES; i++)
        words[i] = i;
    print("read ");
    print_number((size_t)PIECE * PIECES);
    for (int i = 0; i < TIMES; i++) {
        const size_t start = nanoseconds();
        run_each(parallel_for, context, read_piece, words);
        print(" ");
        print_number(nanoseconds() - start);
    }
    print("\nend\n");
    return 0;
}

/* ---- A model ------------------------------------------------------------------------------- */

typedef struct bench {
    const bitx_model *model;
    bitx_session *session;
    uint32_t vocabulary, context, prefill, decode, position;
} bench;

static bitx_status open_session(bitx_session **session, size_t *bytes, const bitx_model *model,
                                const bitx_config *config)
{
    bitx_status status = bitx_session_size(bytes, model, config);
    void *arena = status == BITX_OK ? runner_allocate(*bytes) : NULL;
    if (status != BITX_OK) return status;
    return arena ? bitx_session_open(session, model, config, arena, *bytes) : BITX_E_ARENA;
}

/* Any tokens will do: what they are changes no work. */
static int32_t token_at(const bench *b, uint32_t position)
{
    return (int32_t)((uint64_t)position * 7919 % b->vocabulary);
}

static bitx_status append(bench *b, uint32_t count)
{
    enum { AT_ONCE = 512 };
    int32_t tokens[AT_ONCE];
    const float *logits;
    bitx_status status = BITX_OK;
    while (status == BITX_OK && count > 0) {
        const uint32_t n = count < AT_ONCE ? count : AT_ONCE;
        for (uint32_t i = 0; i < n; i++)
            tokens[i] = token_at(b, b->position + i);
        status = bitx_prefill(b->session, tokens, n, &logits);
        b->position += n;
        count -= n;
    }
    return status;
}

static void restart(bench *b)
{
    bitx_session_reset(b->session);
    b->position = 0;
}

static bitx_status time_decode(bench *b, uint32_t context)
{
    bitx_status status = BITX_OK;
    print("decode ");
    print_number(context);
    for (uint32_t i = 0; status == BITX_OK && i < b->decode; i++) {
        const size_t start = nanoseconds();
        status = append(b, 1);
        print(" ");
        print_number(nanoseconds() - start);
    }
    print("\n");
    return status;
}

static bitx_status time_prefill(bench *b, uint32_t context)
{
    const size_t start = nanoseconds();
    const bitx_status status = append(b, b->prefill);
    const size_t end = nanoseconds();
    print("prefill ");
    print_number(context);
    print(" ");
    print_number(b->prefill);
    print(" ");
    print_number(end - start);
    print("\n");
    return status;
}

static bitx_status time_context(bench *b, uint32_t context)
{
    bitx_status status = BITX_OK;
    if (b->position > context) restart(b);
    if (context > b->context || b->context - context < b->decode) return BITX_OK;
    status = append(b, context - b->position);
    if (status == BITX_OK) status = time_decode(b, context);
    if (context == 0) restart(b);
    if (status == BITX_OK && b->context - b->position >= b->prefill)
        status = time_prefill(b, context);
    return status;
}

typedef struct op_times {
    const bitx_model *model;
    size_t last, of[MOST_OPS];
} op_times;

static void note_op(void *context, const bitx_trace_event *event)
{
    op_times *times = context;
    const size_t now = nanoseconds();
    times->of[bitx_read_op(times->model, event->op).code % MOST_OPS] += now - times->last;
    times->last = nanoseconds();
}

static bitx_status time_ops(bench *b, bitx_config config)
{
    static op_times times;
    size_t bytes = 0, start;
    bitx_status status;

    times.model = b->model;
    config.trace = note_op;
    config.trace_context = &times;
    config.context_tokens = b->decode + 1;
    status = open_session(&b->session, &bytes, b->model, &config);
    b->position = 0;
    if (status == BITX_OK) status = append(b, 1);
    for (size_t code = 0; code < MOST_OPS; code++)
        times.of[code] = 0;
    start = times.last = nanoseconds();
    for (uint32_t i = 0; status == BITX_OK && i < b->decode; i++) {
        times.last = nanoseconds();
        status = append(b, 1);
    }
    print_fact("unfused", nanoseconds() - start);
    for (size_t code = 0; code < MOST_OPS; code++) {
        if (times.of[code] == 0) continue;
        print("op ");
        print_number(code);
        print(" ");
        print_number(times.of[code]);
        print("\n");
    }
    return status;
}

/* The most that was resident since the program began; ru_maxrss would count who started it. */
static size_t peak_bytes(void)
{
    static const char name[] = "VmHWM:";
    char text[256];
    size_t kilobytes = 0;
    FILE *const file = fopen("/proc/self/status", "r");
    if (!file) return 0;
    while (fgets(text, sizeof text, file))
        if (strncmp(text, name, sizeof name - 1) == 0)
            kilobytes = strtoul(text + sizeof name - 1, NULL, 10);
    fclose(file);
    return 1024 * kilobytes;
}

static bitx_status run(bitx_model *model, bitx_config config, uint32_t prefill, uint32_t decode,
                       int contexts, char **context_words, size_t start)
{
    size_t arena = 0;
    bench b = {.model = model, .prefill = prefill, .decode = decode};
    const bitx_facts facts = bitx_model_facts(model);
    bitx_status status;

    b.vocabulary = facts.vocabulary;
    b.context = config.context_tokens = facts.context;
    status = open_session(&b.session, &arena, model, &config);
    print_fact("opened", nanoseconds() - start);
    if (status == BITX_OK) status = append(&b, 1);
    print_fact("first", nanoseconds() - start);
    restart(&b);
    for (int i = 0; status == BITX_OK && i < contexts; i++)
        status = time_context(&b, (uint32_t)strtoul(context_words[i], NULL, 10));
    print_fact("arena", arena);
    print_fact("peak", peak_bytes());
    return status == BITX_OK ? time_ops(&b, config) : status;
}

int runner_run(int count, char **words)
{
    const size_t start = nanoseconds();
    const int masked = count > 2 && strcmp(words[0], "--isa") == 0;
    const uint32_t mask = masked ? (uint32_t)strtoul(words[1], NULL, 10) : ~0u;
    if (masked) words += 2, count -= 2;
    const uint32_t threads = count > 1 ? (uint32_t)strtoul(words[1], NULL, 10) : 0;
    bitx_config config = bitx_config_default();
    bitx_model model = {0};
    size_t bytes = 0;
    const void *blob;
    bitx_status status = BITX_E_ARGUMENT;

    config.isa_mask = mask;
    if (threads > 1) {
        config.parallel_for = runner_threads(threads, &config.parallel_context);
        if (!config.parallel_for) return 1;
    }
    if (count == 2) return time_reading(config.parallel_for, config.parallel_context);
    if (count < 5) return 2;
    blob = runner_blob(words[0], &bytes);
    if (blob) status = bitx_model_open(&model, blob, bytes);
    if (status == BITX_OK)
        status = run(&model, config, (uint32_t)strtoul(words[2], NULL, 10),
                     (uint32_t)strtoul(words[3], NULL, 10), count - 4, words + 4, start);
    print(status == BITX_OK ? "end" : bitx_status_name(status));
    print("\n");
    return status != BITX_OK;
}
