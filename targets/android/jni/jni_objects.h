/* jni_objects.h - what the handles of class ai.bitexport.Native point at. */
#ifndef JNI_OBJECTS_H
#define JNI_OBJECTS_H

#include "bitexport_generate.h"
#include "bitx_map.h"
#include "bitx_threads.h"
#include "jni_natives.h"

enum { MOST_STOPS = 16, DEFAULT_CHUNK_ROWS = 16 };

/* Pages of the system, zeroed; they lie in no heap, least of all Java's. */
typedef struct pages {
    uint8_t *memory; /* null: there are none */
    size_t bytes, taken;
} pages;

pages pages_get(size_t bytes);
void pages_return(pages *from);

/* The next block, aligned to 64. */
void *pages_take(pages *from, size_t bytes);
size_t pages_round(size_t bytes);

typedef struct open_model {
    pages own;
    bitx_map map;
    bitx_model model;
} open_model;

typedef struct open_session {
    pages own;
    const open_model *of;
    bitx_session *session;
    bitx_generator *generator;
    bitx_threads threads;
    uint32_t has_threads;
    bitx_answer answer;
    int32_t stop_tokens[BITX_MOST_STOP_TOKENS];
    bitx_string_view stops[MOST_STOPS];
    char stop_bytes[MOST_STOPS * BITX_STOP_BYTES];
} open_session;

/* Lays a session out in pages of its own; null, and why, where that fails. */
open_session *open_session_new(const open_model *of, const bitx_config *config, unsigned threads,
                               bitx_status *status);
void open_session_free(open_session *session);

/* The tokens of a text, in `scratch`, which the caller returns. */
bitx_status encode_text(pages *scratch, int32_t **tokens, size_t *count, const bitx_model *model,
                        const bitx_text *text, uint32_t flags);

/* Copies a Java array of bytes, a zero byte behind it; null where there is no memory. */
char *bytes_of(JNIEnv *env, jbyteArray array, pages *scratch, size_t *count);

#endif /* JNI_OBJECTS_H */
