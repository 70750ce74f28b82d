/* jni_objects.c - memory, sessions and texts behind the handles. */
#include "jni_objects.h"

#include <sys/mman.h>

enum { ALIGNMENT = 64 };

size_t pages_round(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

pages pages_get(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return (pages){NULL, 0, 0};
    return (pages){memory, bytes, 0};
}

void pages_return(pages *from)
{
    uint8_t *memory = from->memory;
    const size_t bytes = from->bytes;
    from->memory = NULL; /* it may lie in these pages itself */
    if (memory) (void)munmap(memory, bytes);
}

void *pages_take(pages *from, size_t bytes)
{
    uint8_t *block = from->memory + from->taken;
    from->taken += pages_round(bytes);
    return block;
}

/* ---- Sessions ------------------------------------------------------------------------------ */

static bitx_status lay_out(open_session *s, const bitx_config *config, size_t arena_bytes,
                           size_t generator_bytes)
{
    void *arena = pages_take(&s->own, arena_bytes);
    void *memory = pages_take(&s->own, generator_bytes);
    const bitx_status status =
        bitx_session_open(&s->session, &s->of->model, config, arena, arena_bytes);
    if (status != BITX_OK) return status;
    return bitx_generator_open(&s->generator, s->session, memory, generator_bytes);
}

open_session *open_session_new(const open_model *of, const bitx_config *config, unsigned threads,
                               bitx_status *status)
{
    size_t arena_bytes, generator_bytes;
    *status = bitx_session_size(&arena_bytes, &of->model, config);
    if (*status != BITX_OK) return NULL;
    *status = bitx_generator_size(&generator_bytes, &of->model, config->context_tokens);
    if (*status != BITX_OK) return NULL;

    pages own = pages_get(pages_round(sizeof(open_session)) + pages_round(arena_bytes) +
                          pages_round(generator_bytes));
    *status = BITX_E_ROOM;
    if (!own.memory) return NULL;
    open_session *s = pages_take(&own, sizeof *s);
    s->own = own;
    s->of = of;
    bitx_config changed = *config;
    if (threads > 1) {
        *status = BITX_E_ARGUMENT;
        s->has_threads = bitx_threads_start(&s->threads, threads) == 0;
        changed.parallel_for = bitx_threads_for;
        changed.parallel_context = &s->threads;
    }
    if (threads <= 1 || s->has_threads)
        *status = lay_out(s, &changed, arena_bytes, generator_bytes);
    if (*status == BITX_OK) return s;
    open_session_free(s);
    return NULL;
}

void open_session_free(open_session *session)
{
    if (session->has_threads) bitx_threads_stop(&session->threads);
    pages_return(&session->own);
}

/* ---- Texts --------------------------------------------------------------------------------- */

bitx_status encode_text(pages *scratch, int32_t **tokens, size_t *count, const bitx_model *model,
                        const bitx_text *text, uint32_t flags)
{
    size_t room, work_bytes;
    *count = 0;
    const bitx_status status = bitx_encode_room(&room, &work_bytes, model, text->count);
    if (status != BITX_OK) return status;
    *scratch = pages_get(pages_round(room * sizeof **tokens) + pages_round(work_bytes) + 1);
    if (!scratch->memory) return BITX_E_ROOM;
    *tokens = pages_take(scratch, room * sizeof **tokens);
    void *work = pages_take(scratch, work_bytes);
    return bitx_encode(*tokens, room, count, model, text, flags, work, work_bytes);
}

char *bytes_of(JNIEnv *env, jbyteArray array, pages *scratch, size_t *count)
{
    const jsize length = (*env)->GetArrayLength(env, array);
    *count = (size_t)length;
    *scratch = pages_get(*count + 1);
    if (!scratch->memory) return NULL;
    (*env)->GetByteArrayRegion(env, array, 0, length, (jbyte *)scratch->memory);
    return (char *)scratch->memory;
}
