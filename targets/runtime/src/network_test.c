/* network_test.c - R31, and the bits that the reference computed of some samples. */
#include "bitexport_network.h"
#include "chain.h"
#include "session.h"

enum { STORED_BYTES = 16 }; /* of a chain */

typedef struct test_header {
    uint32_t samples, tokens, op_outputs, reserved;
} test_header;

/* A view of the section. */
typedef struct test_vectors {
    test_header header;
    const uint8_t *samples, *op_chains;
} test_vectors;

static uint32_t count_op_outputs(const bitx_model *model)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->ops.count; i++)
        count += bitx_read_op(model, i).outputs;
    return count;
}

/* Rows that a value has when a call has one. */
static uint32_t rows_of_one(const bitx_value_record *value)
{
    return value->row_kind == BITX_ROWS_FIXED ? value->rows : 1;
}

/* Of the inputs of one sample. */
static uint64_t sample_bytes(const bitx_model *model)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role == BITX_INPUT)
            bytes +=
                (uint64_t)rows_of_one(&value) * value.columns * bitx_element_bytes(value.dtype);
    }
    return bytes;
}

/* R31. */
static bitx_status read_test(test_vectors *test, const bitx_model *model)
{
    const bitx_section *section = &model->self_test;
    const uint64_t of_sample = sample_bytes(model);
    uint64_t left = section->bytes;
    if (left < sizeof test->header) return BITX_E_FORMAT;
    bitx_copy(&test->header, section->records, sizeof test->header);
    left -= sizeof test->header;

    const test_header *h = &test->header;
    if (h->samples == 0 || h->tokens != 0 || h->reserved != 0 || of_sample == 0 ||
        h->op_outputs != count_op_outputs(model))
        return BITX_E_FORMAT;
    test->samples = section->records + sizeof *h;
    test->op_chains = test->samples;
    for (uint32_t s = 0; s < h->samples; s++, left -= of_sample, test->op_chains += of_sample)
        if (of_sample > left) return BITX_E_FORMAT;
    return left == STORED_BYTES * (uint64_t)h->op_outputs ? BITX_OK : BITX_E_FORMAT;
}

/* Puts one sample where the plan reads it; returns what lies behind it. */
static const uint8_t *take_sample(const bitx_session *session, const uint8_t *from)
{
    for (uint32_t i = 0; i < session->model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(session->model, i);
        const size_t bytes = (size_t)value.columns * bitx_element_bytes(value.dtype);
        const size_t stride = bitx_value_stride(value.columns, value.dtype);
        uint8_t *to = bitx_value_data(session, i);
        if (value.role != BITX_INPUT) continue;
        for (uint32_t t = rows_of_one(&value); t > 0; t--, from += bytes, to += stride) {
            bitx_copy(to, from, bytes);
            bitx_zero(to + bytes, stride - bytes);
        }
    }
    return from;
}

/* Visits the op outputs that are outputs of the network; 1 from `visit` ends it, and is told by the
 * op output, else UINT32_MAX. */
static uint32_t each_output(const bitx_session *session, const test_vectors *test, uint8_t *chains,
                            int (*visit)(const bitx_session *, const test_vectors *, uint8_t *chain,
                                         uint32_t op_output, uint32_t value))
{
    const bitx_model *model = session->model;
    uint32_t op_output = 0;
    for (uint32_t i = 0; i < model->ops.count; i++) {
        const bitx_op_record op = bitx_read_op(model, i);
        for (uint32_t o = 0; o < op.outputs; o++, op_output++) {
            const bitx_operand_record made =
                bitx_read_operand(model, op.first_operand + op.inputs + o);
            uint8_t *chain = chains + (size_t)op_output * BITX_SHA256_BYTES;
            if (bitx_read_value(model, made.index).role == BITX_OUTPUT &&
                visit(session, test, chain, op_output, made.index))
                return op_output;
        }
    }
    return UINT32_MAX;
}

static int link_value(const bitx_session *session, const test_vectors *test, uint8_t *chain,
                      uint32_t op_output, uint32_t index)
{
    const bitx_value_record value = bitx_read_value(session->model, index);
    const size_t bytes = (size_t)value.columns * bitx_element_bytes(value.dtype);
    const uint8_t *row = bitx_value_data(session, index);
    (void)test;
    (void)op_output;
    for (uint32_t t = rows_of_one(&value); t > 0; t--)
        bitx_link_row(chain, row, bytes), row += bitx_value_stride(value.columns, value.dtype);
    return 0;
}

static int differs(const test_vectors *test, const uint8_t *chain, uint32_t op_output)
{
    return !bitx_same(chain, test->op_chains + (size_t)op_output * STORED_BYTES, STORED_BYTES);
}

static int value_differs(const bitx_session *session, const test_vectors *test, uint8_t *chain,
                         uint32_t op_output, uint32_t index)
{
    (void)session;
    (void)index;
    return differs(test, chain, op_output);
}

static uint32_t first_different(const bitx_session *session, const test_vectors *test,
                                uint8_t *chains, int by_op)
{
    if (!by_op) return each_output(session, test, chains, value_differs);
    for (uint32_t i = 0; i < test->header.op_outputs; i++)
        if (differs(test, chains + (size_t)i * BITX_SHA256_BYTES, i)) return i;
    return UINT32_MAX;
}

/* Runs every sample; chains of all op outputs, or of the network's alone. */
static bitx_status run_samples(bitx_session *session, const test_vectors *test, uint8_t *chains,
                               int by_op, uint32_t *done)
{
    const uint8_t *sample = test->samples;
    for (*done = 0; *done < test->header.samples; ++*done) {
        sample = take_sample(session, sample);
        const bitx_status status = bitx_execute(session, 1);
        if (status != BITX_OK) return status;
        if (!by_op) (void)each_output(session, test, chains, link_value);
    }
    return BITX_OK;
}

bitx_status bitx_network_test(bitx_session *session, void *chains, size_t chains_bytes,
                              bitx_self_test_result *result)
{
    test_vectors test;

    if (!session || !result || !chains) return BITX_E_ARGUMENT;
    *result = (bitx_self_test_result){0, UINT32_MAX};
    if (!session->model->self_test.records || session->tokens != BITX_NONE) return BITX_E_ARGUMENT;
    bitx_status status = read_test(&test, session->model);
    if (status != BITX_OK) return status;
    if (chains_bytes / BITX_SHA256_BYTES < test.header.op_outputs) return BITX_E_ROOM;

    const bitx_config config = session->config;
    const int by_op = config.unfused && config.keep_all_rows;
    bitx_zero(chains, (size_t)test.header.op_outputs * BITX_SHA256_BYTES);
    session->config.trace = by_op ? bitx_link_event : NULL;
    session->config.trace_context = chains;
    status = run_samples(session, &test, chains, by_op, &result->position);
    session->config = config;
    if (status != BITX_OK) return status;
    result->op_output = first_different(session, &test, chains, by_op);
    return result->op_output == UINT32_MAX ? BITX_OK : BITX_E_SELF_TEST;
}
