/* language.c - tokens in, logits out. */
#include "session.h"

static int takes_only_tokens(const bitx_session *session)
{
    const bitx_model *model = session->model;
    for (uint32_t i = 0; i < model->values.count; i++)
        if (bitx_read_value(model, i).role == BITX_INPUT && i != session->tokens) return 0;
    return 1;
}

/* Keeps the logits of the last `kept` rows; of none, nothing is computed that only they need. */
static bitx_status run_rows(bitx_session *session, const int32_t *tokens, uint32_t rows,
                            uint32_t kept)
{
    uint8_t *row = bitx_value_data(session, session->tokens);
    const size_t stride = bitx_value_stride(1, BITX_S32);
    for (uint32_t t = 0; t < rows; t++)
        bitx_copy(row + t * stride, &tokens[t], sizeof tokens[t]);

    session->kept = kept;
    const bitx_status status = bitx_execute(session, rows);
    session->kept = 1;
    if (status == BITX_OK) session->position += rows;
    return status;
}

/* The logits of the last `kept` rows of a call that kept so many, or all. */
static const float *last_logits(const bitx_session *session, uint32_t rows, uint32_t kept,
                                size_t *stride)
{
    const bitx_value_record value = bitx_read_value(session->model, session->logits);
    const int has_all = session->config.keep_all_rows || value.row_kind != BITX_ROWS_KEPT;
    const uint32_t first = has_all ? rows - kept : 0;
    const size_t bytes = bitx_value_stride(value.columns, value.dtype);
    if (stride) *stride = bytes / sizeof(float);
    return (const float *)(const void *)(bitx_value_data(session, session->logits) + first * bytes);
}

static bitx_status check_tokens(const bitx_session *session, const int32_t *tokens, size_t count)
{
    if (!session || !tokens || count == 0 || session->tokens == BITX_NONE) return BITX_E_ARGUMENT;
    if (!takes_only_tokens(session)) return BITX_E_NAME;
    return count > session->context - session->position ? BITX_E_FULL : BITX_OK;
}

bitx_status bitx_append(bitx_session *session, const int32_t *tokens, uint32_t count, uint32_t kept,
                        const float **logits, size_t *stride)
{
    bitx_status status = check_tokens(session, tokens, count);
    if (status != BITX_OK) return status;
    const uint32_t most = session->config.kept_rows ? session->config.kept_rows : 1;
    if (count > session->chunk_rows || kept > count || kept > most) return BITX_E_ARGUMENT;
    status = run_rows(session, tokens, count, kept);
    if (status == BITX_OK && kept) *logits = last_logits(session, count, kept, stride);
    return status;
}

bitx_status bitx_prefill(bitx_session *session, const int32_t *tokens, size_t count,
                         const float **logits)
{
    if (logits) *logits = NULL;
    bitx_status status = check_tokens(session, tokens, count);
    if (status != BITX_OK) return status;

    const uint32_t start = session->position;
    uint32_t rows = 0;
    for (size_t done = 0; done < count; done += rows) {
        const size_t left = count - done;
        rows = left < session->chunk_rows ? (uint32_t)left : session->chunk_rows;
        status = run_rows(session, tokens + done, rows, rows == left);
        if (status != BITX_OK) {
            session->position = start;
            return status;
        }
    }
    if (logits) *logits = last_logits(session, rows, 1, NULL);
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
