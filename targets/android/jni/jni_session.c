/* jni_session.c - the native methods of ai.bitexport.Native that take a session. */
#include "jni_objects.h"

static open_session *session_at(jlong handle)
{
    return (open_session *)(uintptr_t)handle;
}

NATIVE(jlong, openSession)
(JNIEnv *env, jclass class, jlong model, jint context, jint chunk, jint threads, jint draft,
 jintArray out)
{
    (void)class;
    bitx_status status;
    bitx_config config = bitx_config_default();
    config.context_tokens = (uint32_t)context;
    config.chunk_rows = (uint32_t)(chunk > draft ? chunk : draft + 1);
    config.kept_rows = (uint32_t)draft + 1;
    open_session *opened =
        open_session_new((const open_model *)(uintptr_t)model, &config, (unsigned)threads, &status);
    const jint said = status;
    (*env)->SetIntArrayRegion(env, out, 0, 1, &said);
    return (jlong)(uintptr_t)opened;
}

NATIVE(void, closeSession)(JNIEnv *env, jclass class, jlong handle)
{
    (void)env, (void)class;
    open_session_free(session_at(handle));
}

NATIVE(void, reset)(JNIEnv *env, jclass class, jlong handle)
{
    (void)env, (void)class;
    bitx_generator_reset(session_at(handle)->generator);
}

NATIVE(void, cancel)(JNIEnv *env, jclass class, jlong handle)
{
    (void)env, (void)class;
    bitx_generator_cancel(session_at(handle)->generator);
}

NATIVE(jintArray, tokens)(JNIEnv *env, jclass class, jlong handle)
{
    (void)class;
    uint32_t count;
    const int32_t *tokens = bitx_generator_tokens(session_at(handle)->generator, &count);
    jintArray made = (*env)->NewIntArray(env, (jsize)count);
    if (made) (*env)->SetIntArrayRegion(env, made, 0, (jsize)count, tokens);
    return made;
}

/* ---- What is given ------------------------------------------------------------------------- */

NATIVE(jint, giveTokens)(JNIEnv *env, jclass class, jlong handle, jintArray tokens)
{
    (void)class;
    const jsize count = (*env)->GetArrayLength(env, tokens);
    pages scratch = pages_get((size_t)count * sizeof(jint) + 1);
    if (!scratch.memory) return BITX_E_ROOM;
    (*env)->GetIntArrayRegion(env, tokens, 0, count, (jint *)(void *)scratch.memory);
    const bitx_status status = bitx_generator_give(
        session_at(handle)->generator, (const int32_t *)(void *)scratch.memory, (size_t)count);
    pages_return(&scratch);
    return status;
}

NATIVE(jint, giveText)
(JNIEnv *env, jclass class, jlong handle, jbyteArray utf8, jint flags, jintArray out)
{
    (void)class;
    open_session *s = session_at(handle);
    pages bytes, scratch = {0};
    size_t count = 0;
    int32_t *tokens;
    bitx_status status = BITX_E_ROOM;
    bitx_text text = {0};
    text.bytes = bytes_of(env, utf8, &bytes, &text.count);
    if (text.bytes)
        status = encode_text(&scratch, &tokens, &count, &s->of->model, &text, (uint32_t)flags);
    const jint said = (jint)count;
    (*env)->SetIntArrayRegion(env, out, 0, 1, &said);
    if (status == BITX_OK) status = bitx_generator_give(s->generator, tokens, count);
    pages_return(&scratch);
    pages_return(&bytes);
    return status;
}

/* A conversation in memory: messages, the contents that they point at, the ranges of contents. */
typedef struct conversation {
    pages own, joined;
    bitx_message *messages;
    bitx_range *plain;
    size_t count, plain_count, bytes;
} conversation;

static bitx_status read_messages(JNIEnv *env, conversation *c, jintArray roles_and_bytes,
                                 jbyteArray contents)
{
    const jsize numbers = (*env)->GetArrayLength(env, roles_and_bytes);
    const jsize bytes = (*env)->GetArrayLength(env, contents);
    c->count = (size_t)numbers / 2;
    c->own = pages_get(pages_round(c->count * sizeof *c->messages) +
                       pages_round(c->count * sizeof *c->plain) +
                       pages_round((size_t)numbers * sizeof(jint)) + (size_t)bytes + 1);
    if (!c->own.memory) return BITX_E_ROOM;
    c->messages = pages_take(&c->own, c->count * sizeof *c->messages);
    c->plain = pages_take(&c->own, c->count * sizeof *c->plain);
    jint *number = pages_take(&c->own, (size_t)numbers * sizeof *number);
    char *content = pages_take(&c->own, (size_t)bytes);
    (*env)->GetIntArrayRegion(env, roles_and_bytes, 0, numbers, number);
    (*env)->GetByteArrayRegion(env, contents, 0, bytes, (jbyte *)content);
    for (size_t i = 0; i < c->count; i++) {
        const size_t size = (size_t)number[2 * i + 1];
        c->messages[i] = (bitx_message){(bitx_role)number[2 * i], content, size};
        content += size;
    }
    return BITX_OK;
}

static bitx_status join(conversation *c, const bitx_model *model, bitx_role after)
{
    char *text = NULL;
    size_t room = 0;
    for (;;) {
        const bitx_status status =
            bitx_chat_text(text, room, &c->bytes, c->plain, c->count, &c->plain_count, model,
                           c->messages, c->count, after, 1);
        if (status != BITX_E_ROOM || text) return status;
        room = c->bytes;
        c->joined = pages_get(room + 1);
        text = (char *)c->joined.memory;
        if (!text) return BITX_E_ROOM;
    }
}

static bitx_status give_conversation(open_session *s, conversation *c, bitx_role after)
{
    bitx_chat chat;
    bitx_status status = bitx_chat_of_model(&chat, &s->of->model);
    if (status == BITX_OK) status = join(c, &s->of->model, after);
    if (status != BITX_OK) return status;
    const uint32_t flags = after == BITX_ROLE_START ? chat.encode_flags : BITX_ENCODE_BARE;
    const bitx_text text = {(const char *)c->joined.memory, c->bytes, c->plain, c->plain_count};
    pages scratch = {0};
    int32_t *tokens;
    size_t count;
    status = encode_text(&scratch, &tokens, &count, &s->of->model, &text, flags);
    if (status == BITX_OK) status = bitx_generator_give(s->generator, tokens, count);
    pages_return(&scratch);
    return status;
}

NATIVE(jint, giveChat)
(JNIEnv *env, jclass class, jlong handle, jintArray roles_and_bytes, jbyteArray contents,
 jint after, jintArray out)
{
    (void)class;
    conversation c = {0};
    bitx_status status = read_messages(env, &c, roles_and_bytes, contents);
    if (status == BITX_OK) status = give_conversation(session_at(handle), &c, (bitx_role)after);
    const jint said = (jint)c.bytes;
    (*env)->SetIntArrayRegion(env, out, 0, 1, &said);
    pages_return(&c.joined);
    pages_return(&c.own);
    return status;
}

/* ---- Answers ------------------------------------------------------------------------------- */

/* The numbers of an answer, in the order of ai.bitexport.Options.  A number of the sampler counts
 * where its bit in `set` is 1, else the model's own; floats travel as their bits. */
typedef struct numbers {
    jint set;
    jint temperature, top_k, top_p, min_p, repetition, presence, frequency, window;
    jint seed_low, seed_high;
    jint most_tokens, ignore_ends, keep, draft, show_control, continues;
    jint stop_token_count, stop_count;
} numbers;

enum { NUMBERS = sizeof(numbers) / sizeof(jint) };

static float float_of(jint bits)
{
    union {
        jint bits;
        float value;
    } as = {bits};
    return as.value;
}

static void set_sampler(bitx_sampler *sampler, const numbers *n)
{
    const uint32_t set = (uint32_t)n->set;
    if (set & 1u << 0) sampler->temperature = float_of(n->temperature);
    if (set & 1u << 1) sampler->top_k = (uint32_t)n->top_k;
    if (set & 1u << 2) sampler->top_p = float_of(n->top_p);
    if (set & 1u << 3) sampler->min_p = float_of(n->min_p);
    if (set & 1u << 4) sampler->repetition = float_of(n->repetition);
    if (set & 1u << 5) sampler->presence = float_of(n->presence);
    if (set & 1u << 6) sampler->frequency = float_of(n->frequency);
    if (set & 1u << 7) sampler->window = (uint32_t)n->window;
    sampler->seed = (uint64_t)(uint32_t)n->seed_high << 32 | (uint32_t)n->seed_low;
}

/* ends: the bytes of each stop string; bytes: those of all. */
static bitx_status set_stops(JNIEnv *env, open_session *s, const numbers *n, jintArray tokens,
                             jintArray ends, jbyteArray bytes)
{
    jint sizes[MOST_STOPS];
    const jsize total = (*env)->GetArrayLength(env, bytes);
    if (n->stop_token_count > BITX_MOST_STOP_TOKENS || n->stop_count > MOST_STOPS ||
        total > (jsize)sizeof s->stop_bytes)
        return BITX_E_ARGUMENT;
    (*env)->GetIntArrayRegion(env, tokens, 0, n->stop_token_count, s->stop_tokens);
    (*env)->GetIntArrayRegion(env, ends, 0, n->stop_count, sizes);
    (*env)->GetByteArrayRegion(env, bytes, 0, total, (jbyte *)s->stop_bytes);
    const char *text = s->stop_bytes;
    for (jint i = 0; i < n->stop_count; i++) {
        s->stops[i] = (bitx_string_view){text, (size_t)sizes[i]};
        text += sizes[i];
    }
    s->answer.stop_tokens = s->stop_tokens;
    s->answer.stop_token_count = (uint32_t)n->stop_token_count;
    s->answer.stream.stops = s->stops;
    s->answer.stream.stop_count = (size_t)n->stop_count;
    return BITX_OK;
}

NATIVE(jint, start)
(JNIEnv *env, jclass class, jlong handle, jintArray numbers_of, jintArray stop_tokens,
 jintArray stop_sizes, jbyteArray stop_bytes)
{
    (void)class;
    open_session *s = session_at(handle);
    numbers n;
    (*env)->GetIntArrayRegion(env, numbers_of, 0, NUMBERS, &n.set);
    bitx_status status = bitx_answer_default(&s->answer, &s->of->model);
    if (status != BITX_OK) return status;
    set_sampler(&s->answer.sampler, &n);
    s->answer.most_tokens = (uint32_t)n.most_tokens;
    s->answer.ignore_ends = (uint32_t)n.ignore_ends;
    s->answer.when_full = n.keep < 0 ? BITX_WHEN_FULL_STOP : BITX_WHEN_FULL_SHIFT;
    s->answer.keep = n.keep < 0 ? 0 : (uint32_t)n.keep;
    s->answer.draft = (uint32_t)n.draft;
    s->answer.stream.show_control = (uint32_t)n.show_control;
    s->answer.stream.continues = (uint32_t)n.continues;
    status = set_stops(env, s, &n, stop_tokens, stop_sizes, stop_bytes);
    return status == BITX_OK ? bitx_generator_start(s->generator, &s->answer) : status;
}

NATIVE(jint, next)(JNIEnv *env, jclass class, jlong handle, jintArray out, jbyteArray text)
{
    (void)class;
    bitx_event event = {0};
    const bitx_status status = bitx_generator_next(session_at(handle)->generator, &event);
    if (status != BITX_OK) return status;
    if (event.bytes > BITX_STREAM_BYTES) return BITX_E_ROOM;
    const jint said[7] = {(jint)event.kind,  (jint)event.end, (jint)event.status, (jint)event.done,
                          (jint)event.total, event.token,     (jint)event.bytes};
    (*env)->SetIntArrayRegion(env, out, 0, 7, said);
    if (event.bytes > 0)
        (*env)->SetByteArrayRegion(env, text, 0, (jsize)event.bytes, (const jbyte *)event.text);
    return BITX_OK;
}

/* ---- Saved sessions ------------------------------------------------------------------------ */

NATIVE(jlong, saveSize)(JNIEnv *env, jclass class, jlong handle)
{
    (void)env, (void)class;
    return (jlong)bitx_generator_save_size(session_at(handle)->generator);
}

NATIVE(jint, save)(JNIEnv *env, jclass class, jlong handle, jobject buffer)
{
    (void)class;
    void *bytes = (*env)->GetDirectBufferAddress(env, buffer);
    const jlong room = (*env)->GetDirectBufferCapacity(env, buffer);
    if (!bytes || room < 0) return BITX_E_ARGUMENT;
    return bitx_generator_save(session_at(handle)->generator, bytes, (size_t)room);
}

NATIVE(jint, restore)(JNIEnv *env, jclass class, jlong handle, jobject buffer)
{
    (void)class;
    const void *bytes = (*env)->GetDirectBufferAddress(env, buffer);
    const jlong count = (*env)->GetDirectBufferCapacity(env, buffer);
    if (!bytes || count < 0) return BITX_E_ARGUMENT;
    return bitx_generator_restore(session_at(handle)->generator, bytes, (size_t)count);
}
