/* generator.c - read what was given, choose what follows, one event at a time. */
#include "generator.h"

#include "drafts.h"

/* ---- Memory -----------------------------------------------------------------------------------
 */

typedef struct plan_of_memory {
    uint64_t tokens, work, end;
} plan_of_memory;

static plan_of_memory plan(uint32_t context, uint32_t vocabulary)
{
    plan_of_memory memory;
    memory.tokens = bitx_round_up(sizeof(bitx_generator), BITX_ALIGNMENT);
    memory.work =
        bitx_round_up(memory.tokens + ((uint64_t)context + 1) * sizeof(int32_t), BITX_ALIGNMENT);
    memory.end = memory.work + bitx_sample_room(vocabulary);
    return memory;
}

bitx_status bitx_generator_size(size_t *bytes, const bitx_model *model, uint32_t context)
{
    if (!bytes) return BITX_E_ARGUMENT;
    *bytes = 0;
    if (!model || !model->facts.records) return BITX_E_ARGUMENT;
    const bitx_facts_record facts = bitx_read_facts(model, 0);
    if (facts.kind != BITX_LANGUAGE_MODEL || context > facts.context) return BITX_E_ARGUMENT;
    const plan_of_memory memory = plan(context ? context : facts.context, facts.vocabulary);
    if (memory.end > SIZE_MAX) return BITX_E_ARGUMENT;
    *bytes = (size_t)memory.end;
    return BITX_OK;
}

bitx_status bitx_generator_open(bitx_generator **generator, bitx_session *session, void *memory,
                                size_t bytes)
{
    if (!generator) return BITX_E_ARGUMENT;
    *generator = NULL;
    if (!session || !memory || !bitx_is_aligned(memory) || session->position != 0 ||
        session->tokens == BITX_NONE)
        return BITX_E_ARGUMENT;
    const plan_of_memory planned = plan(session->context, session->vocabulary);
    if (bytes < planned.end) return BITX_E_ARENA;

    bitx_generator *opened = memory;
    bitx_zero(opened, sizeof *opened);
    opened->session = session;
    opened->room = session->context + 1;
    opened->has_text = session->model->tokenizer.records != NULL;
    opened->token = (int32_t *)(void *)((uint8_t *)memory + planned.tokens);
    opened->work = (uint8_t *)memory + planned.work;
    opened->work_bytes = (size_t)(planned.end - planned.work);
    *generator = opened;
    return BITX_OK;
}

/* ---- What is to be read -----------------------------------------------------------------------
 */

static uint32_t pending(const bitx_generator *generator)
{
    return generator->count - generator->session->position;
}

void bitx_generator_reset(bitx_generator *generator)
{
    bitx_session_reset(generator->session);
    generator->phase = BITX_IDLE;
    generator->count = generator->shown = 0;
    generator->logits = NULL;
}

const int32_t *bitx_generator_tokens(const bitx_generator *generator, uint32_t *count)
{
    *count = generator->shown;
    return generator->token;
}

bitx_status bitx_generator_give(bitx_generator *generator, const int32_t *tokens, size_t count)
{
    if (!generator || !tokens || count == 0 || generator->phase != BITX_IDLE)
        return BITX_E_ARGUMENT;
    for (size_t i = 0; i < count; i++)
        if ((uint32_t)tokens[i] >= generator->session->vocabulary) return BITX_E_TOKEN;
    if (count > (size_t)(generator->session->context - generator->count) ||
        generator->count > generator->session->context)
        return BITX_E_FULL;
    bitx_copy(generator->token + generator->count, tokens, count * sizeof *tokens);
    generator->count += (uint32_t)count;
    generator->shown = generator->count;
    return BITX_OK;
}

static bitx_status shift(bitx_generator *generator, uint32_t keep)
{
    const uint32_t rest = generator->count > keep ? generator->count - keep : 0;
    const uint32_t stays = rest / 2;
    if (rest == 0) return BITX_E_FULL;
    for (uint32_t i = 0; i < stays; i++)
        generator->token[keep + i] = generator->token[generator->count - stays + i];
    generator->count = generator->shown = keep + stays;
    generator->logits = NULL;
    bitx_session_reset(generator->session);
    return BITX_OK;
}

bitx_status bitx_generator_shift(bitx_generator *generator, uint32_t keep)
{
    if (!generator || generator->phase != BITX_IDLE) return BITX_E_ARGUMENT;
    return shift(generator, keep);
}

/* ---- An answer --------------------------------------------------------------------------------
 */

bitx_status bitx_answer_default(bitx_answer *answer, const bitx_model *model)
{
    if (!answer) return BITX_E_ARGUMENT;
    bitx_zero(answer, sizeof *answer);
    answer->most_tokens = BITX_ALL;
    return bitx_sampler_of_model(&answer->sampler, model);
}

static void add_ends(bitx_generator *generator, const int32_t *tokens, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) /* of none, tokens may be null */
        generator->ends[generator->end_count++] = tokens[i];
}

static bitx_status find_ends(bitx_generator *generator)
{
    const bitx_model *model = generator->session->model;
    const bitx_answer *answer = &generator->answer;
    const bitx_facts_record facts = bitx_read_facts(model, 0);
    bitx_chat chat = {0};

    generator->end_count = 0;
    add_ends(generator, answer->stop_tokens, answer->stop_token_count);
    if (answer->ignore_ends) return BITX_OK;
    for (uint32_t i = 0; i < facts.eos_count; i++)
        add_ends(generator, (const int32_t *)&facts.eos[i], 1);
    if (!model->chat.records) return BITX_OK;
    const bitx_status status = bitx_chat_of_model(&chat, model);
    if (status == BITX_OK) add_ends(generator, chat.stops, chat.stop_count);
    return status;
}

bitx_status bitx_generator_start(bitx_generator *generator, const bitx_answer *answer)
{
    if (!generator || !answer || generator->phase != BITX_IDLE || pending(generator) == 0 ||
        answer->most_tokens == 0 || answer->stop_token_count > BITX_MOST_STOP_TOKENS ||
        (answer->stop_token_count && !answer->stop_tokens) || answer->draft > BITX_MOST_DRAFTED ||
        answer->when_full > BITX_WHEN_FULL_SHIFT)
        return BITX_E_ARGUMENT;
    const bitx_session *session = generator->session;
    if (answer->draft >= session->chunk_rows ||
        (answer->draft && answer->draft >= session->config.kept_rows))
        return BITX_E_ARGUMENT;
    bitx_status status = bitx_sampler_check(&answer->sampler);
    if (status != BITX_OK) return status;

    generator->answer = *answer;
    status = find_ends(generator);
    if (status == BITX_OK && generator->has_text)
        status = bitx_stream_open(&generator->stream, session->model, &answer->stream);
    if (status != BITX_OK) return status;
    generator->phase = BITX_ANSWERING;
    generator->chosen = 0;
    generator->logits = NULL;
    __atomic_store_n(&generator->cancelled, 0, __ATOMIC_RELAXED);
    return BITX_OK;
}

void bitx_generator_cancel(bitx_generator *generator)
{
    __atomic_store_n(&generator->cancelled, 1, __ATOMIC_RELAXED);
}

/* Forgets what was chosen and not shown: it is as if it had never been.  Behind an answer that did
 * not come to an end of its own another one may begin at once: its last token is read again. */
static void drop_unshown(bitx_generator *generator, bitx_end why)
{
    bitx_session *session = generator->session;
    generator->count = generator->shown;
    const int again = why != BITX_END_STOP || generator->phase == BITX_ENDING;
    const uint32_t most = again && generator->count ? generator->count - 1 : generator->count;
    if (session->position > most) session->position = most;
    generator->logits = NULL;
}

static bitx_status end(bitx_generator *generator, bitx_event *event, bitx_end why,
                       bitx_status status)
{
    drop_unshown(generator, why);
    generator->phase = BITX_IDLE;
    event->kind = BITX_EVENT_END;
    event->end = why;
    event->status = status;
    if (generator->has_text)
        return bitx_stream_finish(&generator->stream, &event->text, &event->bytes);
    return BITX_OK;
}

static int is_end(const bitx_generator *generator, int32_t token)
{
    for (uint32_t i = 0; i < generator->end_count; i++)
        if (generator->ends[i] == token) return 1;
    return 0;
}

static bitx_status show(bitx_generator *generator, bitx_event *event)
{
    const int32_t token = generator->token[generator->shown++];
    int stopped = 0;
    event->token = token;
    if (is_end(generator, token)) {
        generator->shown--;
        return end(generator, event, BITX_END_STOP, BITX_OK);
    }

    event->kind = BITX_EVENT_TEXT;
    generator->chosen++;
    if (generator->has_text) {
        const bitx_status status =
            bitx_stream_push(&generator->stream, token, &event->text, &event->bytes, &stopped);
        if (status != BITX_OK) return status;
    }
    if (stopped || generator->chosen == generator->answer.most_tokens) {
        generator->phase = BITX_ENDING;
        generator->end = stopped ? BITX_END_STOP : BITX_END_LENGTH;
    }
    return BITX_OK;
}

static bitx_status choose(bitx_generator *generator, const float *logits)
{
    int32_t token;
    const bitx_status status =
        bitx_sample(&token, &generator->answer.sampler, logits, generator->session->vocabulary,
                    generator->token, generator->count, generator->work, generator->work_bytes);
    if (status == BITX_OK) generator->token[generator->count++] = token;
    return status;
}

static bitx_status read_chunk(bitx_generator *generator, bitx_event *event)
{
    bitx_session *session = generator->session;
    const uint32_t left = pending(generator);
    const uint32_t rows = left < session->chunk_rows ? left : session->chunk_rows;
    const float *logits = NULL;
    const bitx_status status = bitx_append(session, generator->token + session->position, rows,
                                           rows == left, &logits, NULL);
    if (status != BITX_OK) return status;
    generator->logits = logits;
    event->kind = BITX_EVENT_PREFILL;
    event->done = session->position;
    event->total = generator->count;
    return BITX_OK;
}

/* Tokens that may be drafted behind the last one. */
static uint32_t most_drafted(const bitx_generator *generator)
{
    const uint32_t room = generator->session->context - generator->count;
    const uint32_t left = generator->answer.most_tokens - generator->chosen - 1;
    uint32_t most = generator->answer.draft;
    if (most > room) most = room;
    return most > left ? left : most;
}

/* Runs the last token, and a draft of those behind it; keeps the draft as far as it is what would
 * have been chosen. */
static bitx_status step(bitx_generator *generator)
{
    bitx_session *session = generator->session;
    int32_t run[BITX_MOST_DRAFTED + 1];
    run[0] = generator->token[generator->count - 1];
    const uint32_t drafted =
        bitx_draft(run + 1, generator->token, generator->count, most_drafted(generator));
    const float *logits;
    size_t stride = 0;
    bitx_status status = bitx_append(session, run, drafted + 1, drafted + 1, &logits, &stride);
    for (uint32_t row = 0; status == BITX_OK && row <= drafted; row++) {
        status = choose(generator, logits + row * stride);
        if (status == BITX_OK && row < drafted &&
            generator->token[generator->count - 1] != run[row + 1])
            break;
    }
    if (session->position >= generator->count) session->position = generator->count - 1;
    /* A choice that failed behind others ends the answer when these have been shown. */
    return generator->shown < generator->count ? BITX_OK : status;
}

static bitx_status go_on(bitx_generator *generator, bitx_event *event)
{
    bitx_session *session = generator->session;
    bitx_status status = BITX_OK;

    if (generator->shown == generator->count && !generator->logits) {
        if (session->position == session->context) {
            if (generator->answer.when_full == BITX_WHEN_FULL_STOP ||
                shift(generator, generator->answer.keep) != BITX_OK)
                return end(generator, event, BITX_END_FULL, BITX_OK);
        }
        if (pending(generator) > 1) return read_chunk(generator, event);
        status = step(generator);
    } else if (generator->logits) {
        status = choose(generator, generator->logits);
        generator->logits = NULL;
    }
    return status == BITX_OK ? show(generator, event) : status;
}

bitx_status bitx_generator_next(bitx_generator *generator, bitx_event *event)
{
    if (!generator || !event || generator->phase == BITX_IDLE) return BITX_E_ARGUMENT;
    *event = (bitx_event){.token = -1};
    if (generator->phase == BITX_ENDING) return end(generator, event, generator->end, BITX_OK);
    if (__atomic_load_n(&generator->cancelled, __ATOMIC_RELAXED))
        return end(generator, event, BITX_END_CANCELLED, BITX_OK);
    const bitx_status status = go_on(generator, event);
    return status == BITX_OK ? BITX_OK : end(generator, event, BITX_END_ERROR, status);
}
