/* self_test.c - R25, and the bits that the reference computed. */
#include "chain.h"
#include "session.h"

enum { STORED_BYTES = 16 }; /* of a chain */

typedef struct test_header {
    uint32_t prompt, generated, op_outputs, reserved;
} test_header;

/* A view of the section; the arrays may begin anywhere that is a multiple of 4. */
typedef struct test_vectors {
    test_header header;
    const uint8_t *tokens, *logits_chain, *op_chains;
} test_vectors;

static int32_t token_at(const test_vectors *test, uint32_t position)
{
    int32_t token;
    bitx_copy(&token, test->tokens + (size_t)position * sizeof token, sizeof token);
    return token;
}

static uint32_t count_op_outputs(const bitx_model *model)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->ops.count; i++)
        count += bitx_read_op(model, i).outputs;
    return count;
}

static int tokens_are_known(const test_vectors *test, uint32_t count, uint32_t vocabulary)
{
    for (uint32_t i = 0; i < count; i++)
        if ((uint32_t)token_at(test, i) >= vocabulary) return 0;
    return 1;
}

/* R25. */
static bitx_status read_test(test_vectors *test, const bitx_model *model)
{
    const bitx_section *section = &model->self_test;
    const bitx_facts_record facts = bitx_read_facts(model, 0);
    if (section->bytes < sizeof test->header) return BITX_E_FORMAT;
    bitx_copy(&test->header, section->records, sizeof test->header);

    const test_header *h = &test->header;
    const uint64_t tokens = (uint64_t)h->prompt + h->generated;
    if (section->bytes != sizeof *h + 4 * tokens + STORED_BYTES * (1 + (uint64_t)h->op_outputs) ||
        h->prompt == 0 || h->generated == 0 || h->reserved != 0 ||
        h->op_outputs != count_op_outputs(model) || tokens - 1 > facts.context)
        return BITX_E_FORMAT;
    test->tokens = section->records + sizeof *h;
    test->logits_chain = test->tokens + 4 * tokens;
    test->op_chains = test->logits_chain + STORED_BYTES;
    return tokens_are_known(test, (uint32_t)tokens, facts.vocabulary) ? BITX_OK : BITX_E_FORMAT;
}

/* Feeds the stored tokens one by one.  *differs: the first position that chose another token. */
static bitx_status feed(bitx_session *session, const test_vectors *test, uint8_t *chain,
                        uint32_t *differs)
{
    const uint32_t positions = test->header.prompt + test->header.generated - 1;
    *differs = positions;
    for (uint32_t p = 0; p < positions; p++) {
        const float *logits;
        const bitx_status status = bitx_step(session, token_at(test, p), &logits);
        if (status != BITX_OK) return status;
        bitx_link_row(chain, logits, session->vocabulary * sizeof *logits);
        const int chooses = p + 1 >= test->header.prompt && *differs == positions;
        if (chooses && bitx_greedy(logits, session->vocabulary) != token_at(test, p + 1))
            *differs = p;
    }
    return BITX_OK;
}

static uint32_t first_different_chain(const test_vectors *test, const uint8_t *chains)
{
    for (uint32_t i = 0; i < test->header.op_outputs; i++)
        if (!bitx_same(chains + (size_t)i * BITX_SHA256_BYTES,
                       test->op_chains + (size_t)i * STORED_BYTES, STORED_BYTES))
            return i;
    return UINT32_MAX;
}

/* As feed(), with the trace that links every op output to its chain. */
static bitx_status feed_traced(bitx_session *session, const test_vectors *test, uint8_t *chain,
                               uint8_t *chains, uint32_t *differs)
{
    const bitx_config config = session->config;
    session->config.trace = chains ? bitx_link_event : NULL;
    session->config.trace_context = chains;
    if (chains) bitx_zero(chains, (size_t)test->header.op_outputs * BITX_SHA256_BYTES);
    const bitx_status status = feed(session, test, chain, differs);
    session->config = config;
    return status;
}

static bitx_status check_call(const bitx_session *session, const test_vectors *test,
                              const void *chains, size_t chains_bytes)
{
    if (test->header.prompt + test->header.generated - 1 > session->context) return BITX_E_FULL;
    if (!chains) return BITX_OK;
    const int sees_all = session->config.unfused && session->config.keep_all_rows;
    const int holds_all = chains_bytes / BITX_SHA256_BYTES >= test->header.op_outputs;
    return sees_all && holds_all ? BITX_OK : BITX_E_ARGUMENT;
}

bitx_status bitx_self_test(bitx_session *session, void *chains, size_t chains_bytes,
                           bitx_self_test_result *result)
{
    uint8_t logits_chain[BITX_SHA256_BYTES] = {0};
    test_vectors test;

    if (!session || !result) return BITX_E_ARGUMENT;
    *result = (bitx_self_test_result){0, UINT32_MAX};
    if (!session->model->self_test.records || session->tokens == BITX_NONE) return BITX_E_ARGUMENT;
    bitx_status status = read_test(&test, session->model);
    if (status == BITX_OK) status = check_call(session, &test, chains, chains_bytes);
    if (status != BITX_OK) return status;

    bitx_session_reset(session);
    status = feed_traced(session, &test, logits_chain, chains, &result->position);
    if (status != BITX_OK) result->position = session->position;
    bitx_session_reset(session);
    if (status != BITX_OK) return status;

    if (chains) result->op_output = first_different_chain(&test, chains);
    const uint32_t positions = test.header.prompt + test.header.generated - 1;
    const int same = result->position == positions && result->op_output == UINT32_MAX &&
                     bitx_same(logits_chain, test.logits_chain, STORED_BYTES);
    return same ? BITX_OK : BITX_E_SELF_TEST;
}
