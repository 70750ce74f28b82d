/* language.c - tokens in, logits out. */
#include "session.h"

static int takes_only_tokens(const bitx_session *session)
{
    const bitx_model *model = session->model;
    for (uint32_t i = 0; i < model->values.count; i++)
        if (bitx_read_value(model, i).role == BITX_INPUT && i != session->tokens) return 0;
    return 1;
}

static bitx_status append_chunk(bitx_session *session, const int32_t *tokens, uint32_t rows)
{
    uint8_t *row = bitx_value_data(session, session->tokens);
    const size_t stride = bitx_value_stride(1, BITX_S32);
    for (uint32_t t = 0; t < rows; t++)
        bitx_copy(row + t * stride, &tokens[t], sizeof tokens[t]);

    const bitx_status status = bitx_execute(session, rows);
    if (status == BITX_OK) session->position += rows;
    return status;
}

/* The logits of the last row of a call. */
static const float *last_logits(const bitx_session *session, uint32_t rows)
{
    const bitx_value_record value = bitx_read_value(session->model, session->logits);
    const uint32_t last = bitx_value_rows(session, &value, rows) - 1;
    const size_t stride = bitx_value_stride(value.columns, value.dtype);
    return (const float *)(const void *)(bitx_value_data(session, session->logits) + last * stride);
}

bitx_status bitx_prefill(bitx_session *session, const int32_t *tokens, size_t count,
                         const float **logits)
{
    if (logits) *logits = NULL;
    if (!session || !tokens || count == 0 || session->tokens == BITX_NONE) return BITX_E_ARGUMENT;
    if (!takes_only_tokens(session)) return BITX_E_NAME;
    if (count > session->context - session->position) return BITX_E_FULL;

    const uint32_t start = session->position;
    uint32_t rows = 0;
    for (size_t done = 0; done < count; done += rows) {
        const size_t left = count - done;
        rows = left < session->chunk_rows ? (uint32_t)left : session->chunk_rows;
        const bitx_status status = append_chunk(session, tokens + done, rows);
        if (status != BITX_OK) {
            session->position = start;
            return status;
        }
    }
    if (logits) *logits = last_logits(session, rows);
    return BITX_OK;
}

bitx_status bitx_step(bitx_session *session, int32_t token, const float **logits)
{
    return bitx_prefill(session, &token, 1, logits);
}

int32_t bitx_greedy(const float *logits, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}
