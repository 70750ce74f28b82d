/* session.c - lay a session out in the arena: itself, where values lie, the slots, scores, scratch.
 */
#include "session.h"

#include "floats.h"
#include "lookup.h"

enum { DEFAULT_CHUNK_ROWS = 16 };

bitx_config bitx_config_default(void)
{
    return (bitx_config){.chunk_rows = DEFAULT_CHUNK_ROWS, .isa_mask = ~0u};
}

/* In 64 bits, because one value alone may pass a size_t of 32; no sum passes SIZE_MAX. */
typedef struct plan_of_arena {
    uint64_t value_table, slots, scores, scratch, end;
    uint64_t scores_stride;
} plan_of_arena;

/* Takes over model and config; fails if they do not suit each other. */
static bitx_status settle(bitx_session *session, const bitx_model *model, const bitx_config *config)
{
    if (!model || !config || !model->facts.records) return BITX_E_ARGUMENT;
    const bitx_facts_record facts = bitx_read_facts(model, 0);
    bitx_zero(session, sizeof *session);
    session->model = model;
    session->config = *config;
    session->config.unfused |= config->trace != NULL;
    session->config.keep_all_rows |= config->trace != NULL;
    session->fused = !session->config.unfused;
    session->context = config->context_tokens ? config->context_tokens : facts.context;
    session->chunk_rows = config->chunk_rows;
    session->kept = config->kept_rows ? config->kept_rows : 1;
    session->tokens = facts.tokens_value;
    session->logits = facts.logits_value;
    session->vocabulary = facts.vocabulary;
    if (session->chunk_rows == 0 || session->context > facts.context) return BITX_E_ARGUMENT;
    if (facts.kind == BITX_LANGUAGE_MODEL && session->chunk_rows > session->context)
        session->chunk_rows = session->context;
    return BITX_OK;
}

uint32_t bitx_value_rows(const bitx_session *session, const bitx_value_record *value, uint32_t rows)
{
    switch (value->row_kind) {
    case BITX_ROWS_CALL:    return rows;
    case BITX_ROWS_KEPT:    return bitx_kept_rows(session, rows);
    case BITX_ROWS_CONTEXT: return session->context;
    default:                return value->rows;
    }
}

/* Below 2^58: a row is below 2^26 + 64 bytes. */
static uint64_t value_bytes(const bitx_session *session, const bitx_value_record *value)
{
    return (uint64_t)bitx_value_stride(value->columns, value->dtype) *
           bitx_value_rows(session, value, session->chunk_rows);
}

/* Bytes of one slot; notes in value_at, unless null, where its values begin.  *used: whether this
 * slot or a higher one is. */
static uint64_t lay_out_slot(const bitx_session *session, uint32_t slot, uint64_t at,
                             size_t *value_at, int *used)
{
    uint64_t bytes = 0;
    *used = 0;
    for (uint32_t i = 0; i < session->model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(session->model, i);
        const uint32_t its_slot = bitx_slot(&value, session->fused);
        *used |= its_slot != BITX_NONE && its_slot >= slot;
        if (its_slot != slot) continue;
        if (value_bytes(session, &value) > bytes) bytes = value_bytes(session, &value);
        if (value_at) value_at[i] = (size_t)at;
    }
    return bytes;
}

/* Moves *at, at most SIZE_MAX, on; 0 if it would pass that. */
static int reserve(uint64_t *at, uint64_t bytes)
{
    if (bytes > SIZE_MAX - *at) return 0;
    *at += bytes;
    return 1;
}

static int lay_out_slots(const bitx_session *session, uint64_t *at, size_t *value_at)
{
    int used = 1;
    for (uint32_t slot = 0; used; slot++)
        if (!reserve(at, lay_out_slot(session, slot, *at, value_at, &used))) return 0;
    return 1;
}

/* At most 2^24: each has a column of its own. */
static uint32_t most_heads(const bitx_model *model)
{
    uint32_t heads = 0;
    for (uint32_t i = 0; i < model->ops.count; i++) {
        const bitx_op_record op = bitx_read_op(model, i);
        const int attends = op.code == BITX_OP_ATTEND || bitx_is_op(op.code, BITX_OP_ATTEND_INT8);
        if (attends && op.attribute[0] > heads) heads = op.attribute[0];
    }
    return heads;
}

/* What the tables of one op take at most; below 2^40. */
static uint64_t most_scratch(const bitx_model *model)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < model->ops.count; i++) {
        const bitx_op_record op = bitx_read_op(model, i);
        if (op.code != BITX_OP_TERNARY_MATMUL) continue;
        const bitx_operand_record weight = bitx_read_operand(model, op.first_operand + 1);
        const bitx_tensor_record tensor = bitx_read_tensor(model, weight.index);
        const uint64_t bytes = bitx_scratch_bytes(tensor.layout, tensor.shape[1]);
        if (bytes > most) most = bytes;
    }
    return most;
}

static bitx_status plan(plan_of_arena *arena, const bitx_session *session)
{
    const uint64_t values = session->model->values.count;
    arena->value_table = bitx_round_up(sizeof *session, BITX_ALIGNMENT);
    arena->slots =
        bitx_round_up(arena->value_table + values * sizeof *session->value_at, BITX_ALIGNMENT);
    arena->scores = arena->slots;
    if (!lay_out_slots(session, &arena->scores, NULL)) return BITX_E_ARGUMENT;
    arena->scores_stride =
        bitx_round_up((uint64_t)session->context * sizeof(float), BITX_ALIGNMENT);
    arena->scratch = arena->scores;
    if (!reserve(&arena->scratch, most_heads(session->model) * arena->scores_stride))
        return BITX_E_ARGUMENT;
    arena->end = arena->scratch;
    return reserve(&arena->end, most_scratch(session->model)) ? BITX_OK : BITX_E_ARGUMENT;
}

bitx_status bitx_session_size(size_t *bytes, const bitx_model *model, const bitx_config *config)
{
    bitx_session session;
    plan_of_arena arena;

    if (!bytes) return BITX_E_ARGUMENT;
    *bytes = 0;
    bitx_status status = settle(&session, model, config);
    if (status == BITX_OK) status = plan(&arena, &session);
    if (status == BITX_OK) *bytes = (size_t)arena.end;
    return status;
}

static void move_in(bitx_session *session, const plan_of_arena *arena, uint8_t *bytes)
{
    size_t *value_at = (size_t *)(void *)(bytes + arena->value_table);
    uint64_t at = arena->slots;
    bitx_zero(value_at, session->model->values.count * sizeof *value_at);
    (void)lay_out_slots(session, &at, value_at);
    session->value_at = value_at;
    session->kept = 1;
    session->scores = bytes + arena->scores;
    session->scores_stride = (size_t)arena->scores_stride;
    session->scratch = bytes + arena->scratch;
    bitx_copy(bytes, session, sizeof *session);
}

bitx_status bitx_session_open(bitx_session **session, const bitx_model *model,
                              const bitx_config *config, void *arena, size_t arena_bytes)
{
    bitx_session opened;
    plan_of_arena planned;

    if (!session) return BITX_E_ARGUMENT;
    *session = NULL;
    if (!arena || !bitx_is_aligned(arena)) return BITX_E_ARGUMENT;
    bitx_status status = settle(&opened, model, config);
    if (status == BITX_OK) status = plan(&planned, &opened);
    if (status != BITX_OK) return status;
    if (arena_bytes < planned.end) return BITX_E_ARENA;

    if (!(config->isa_mask & bitx_isa_available())) return BITX_E_ARGUMENT;
    bitx_kernels_choose(&opened.kernels, config->isa_mask);
    if (!bitx_floats_are_sound()) return BITX_E_FLOATS;
    if (!bitx_kernels_agree(&opened.kernels)) return BITX_E_KERNEL;
    move_in(&opened, &planned, arena);
    *session = arena;
    return BITX_OK;
}

void bitx_session_reset(bitx_session *session)
{
    session->position = 0;
}

bitx_status bitx_session_rewind(bitx_session *session, uint32_t position)
{
    if (!session || position > session->position) return BITX_E_ARGUMENT;
    session->position = position;
    return BITX_OK;
}

uint32_t bitx_session_position(const bitx_session *session)
{
    return session->position;
}

bitx_isa bitx_session_isa(const bitx_session *session)
{
    return session->kernels.isa;
}
