/* check_loader.c - open each file of a stream, run what opens, print what was said.
 *
 * The stream: a u64 of bytes, then so many bytes, until it ends.  Every file gets memory of its
 * own, of exactly its size, so that a sanitizer sees the first byte read past its end.  A line:
 *
 *     open STATUS RULE RECORD
 * and, when it opens,
 *     open 0 0 0 hashes STATUS RULE RECORD text STATUS RULE RECORD chains STATUS RULE POSITION
 *     fused STATUS RULE POSITION size STATUS BYTES step STATUS network STATUS STATUS
 *
 * on one line, the last of a network alone: of a run op by op, and fused, on zeros; a part that was
 * not tried, for want of memory, is missing.  The size is that of the session that takes the step.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>

#include "bitexport_text.h"
#include "records.h"

enum { LARGEST_ARENA = 32 << 20 };

static void *allocate(size_t bytes)
{
    void *block = NULL;

    if (posix_memalign(&block, 64, bytes ? bytes : 1) != 0) exit(2);
    return block;
}

/* Null when the session does not open; *arena is to be freed either way. */
static bitx_session *open_session(void **arena, const bitx_model *model, const bitx_config *config)
{
    bitx_session *session = NULL;
    size_t bytes = 0;

    *arena = NULL;
    if (bitx_session_size(&bytes, model, config) != BITX_OK || bytes > LARGEST_ARENA) return NULL;
    *arena = allocate(bytes);
    if (bitx_session_open(&session, model, config, *arena, bytes) != BITX_OK) return NULL;
    return session;
}

static void self_test(const char *name, bitx_model *model, uint32_t by_op)
{
    bitx_config config = bitx_config_default();
    bitx_self_test_result result = {0, 0};
    bitx_session *session;
    void *arena, *chains = NULL;
    size_t chains_bytes = 0;

    config.chunk_rows = 3;
    config.unfused = config.keep_all_rows = by_op;
    session = open_session(&arena, model, &config);
    if (session && by_op) {
        for (uint32_t op = 0; op < model->ops.count; op++)
            chains_bytes += 32u * model->ops.records[40 * op + 10];
        chains = allocate(chains_bytes);
    }
    if (session) {
        const bitx_status status = bitx_self_test(session, chains, chains_bytes, &result);
        printf(" %s %d %u %u", name, (int)status, (unsigned)model->rule, (unsigned)result.position);
    }
    free(chains);
    free(arena);
}

static void step(const bitx_model *model)
{
    const bitx_config config = bitx_config_default();
    const float *logits = NULL;
    bitx_session *session;
    bitx_status status;
    size_t bytes;
    void *arena;

    status = bitx_session_size(&bytes, model, &config);
    printf(" size %d %zu", (int)status, bytes);
    session = open_session(&arena, model, &config);
    if (session) printf(" step %d", (int)bitx_step(session, 1, &logits));
    free(arena);
}

enum { ROWS = 3, MOST_TENSORS = 8, LARGEST_TENSOR = 1 << 20 };

/* Describes the values of one role, each with memory of its own.  -1: too many, or too large. */
static int describe(bitx_tensor *tensors, const bitx_model *model, uint32_t role)
{
    int count = 0;

    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        const uint32_t rows = value.row_kind == BITX_ROWS_FIXED ? value.rows : ROWS;
        const uint64_t bytes = (uint64_t)rows * value.columns * bitx_element_bytes(value.dtype);
        if (value.role != role) continue;
        if (count == MOST_TENSORS || bytes > LARGEST_TENSOR) return -1;
        tensors[count].name = bitx_string(model, value.name);
        tensors[count].rows = rows;
        tensors[count].data = allocate(bytes);
        for (uint64_t at = 0; at < bytes; at++)
            ((uint8_t *)tensors[count].data)[at] = 0;
        count++;
    }
    return count;
}

static void network(const bitx_model *model, uint32_t by_op)
{
    bitx_tensor inputs[MOST_TENSORS] = {0}, outputs[MOST_TENSORS] = {0};
    const int given = describe(inputs, model, BITX_INPUT);
    const int made = describe(outputs, model, BITX_OUTPUT);
    bitx_config config = bitx_config_default();
    bitx_session *session;
    void *arena;

    config.chunk_rows = ROWS;
    config.unfused = config.keep_all_rows = by_op;
    session = open_session(&arena, model, &config);
    if (session && given >= 0 && made >= 0)
        printf(" %d", (int)bitx_run(session, ROWS, inputs, (size_t)given, outputs, (size_t)made));
    for (int i = 0; i < MOST_TENSORS; i++) {
        free(inputs[i].data);
        free(outputs[i].data);
    }
    free(arena);
}

static void check(const void *blob, size_t bytes)
{
    bitx_model model;
    bitx_status status = bitx_model_open(&model, blob, bytes);

    printf("open %d %u %u", (int)status, (unsigned)model.rule, (unsigned)model.record);
    if (status == BITX_OK) {
        status = bitx_model_check_hashes(&model);
        printf(" hashes %d %u %u", (int)status, (unsigned)model.rule, (unsigned)model.record);
        model.rule = model.record = 0;
        status = bitx_model_check_text(&model);
        printf(" text %d %u %u", (int)status, (unsigned)model.rule, (unsigned)model.record);
        self_test("chains", &model, 1);
        self_test("fused", &model, 0);
        step(&model);
        if (!bitx_model_facts(&model).is_language_model) {
            printf(" network");
            network(&model, 1);
            network(&model, 0);
        }
    }
    printf("\n");
    fflush(stdout);
}

int main(void)
{
    uint64_t bytes;

    while (fread(&bytes, sizeof bytes, 1, stdin) == 1) {
        void *const blob = allocate(bytes);
        if (fread(blob, 1, bytes, stdin) != bytes) return 2;
        check(blob, bytes);
        free(blob);
    }
    return 0;
}
