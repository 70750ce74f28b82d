/* generator.h - what lives at the start of a generator's memory. */
#ifndef BITX_GENERATOR_H
#define BITX_GENERATOR_H

#include "../session.h"
#include "bitexport_generate.h"

typedef enum bitx_phase { BITX_IDLE, BITX_ANSWERING, BITX_ENDING } bitx_phase;

/* Of the facts, of the chat template, of the caller. */
enum { BITX_MOST_ENDS = 4 + 8 + BITX_MOST_STOP_TOKENS };

struct bitx_generator {
    bitx_session *session;
    uint32_t cancelled; /* written by other threads: only through atomics */
    bitx_phase phase;
    bitx_end end; /* while ending: why */
    bitx_answer answer;
    int32_t ends[BITX_MOST_ENDS];
    uint32_t end_count;
    uint32_t room;       /* for tokens: one more than the context */
    uint32_t count;      /* of tokens; those behind the session's position are not computed yet */
    uint32_t shown;      /* of tokens: chosen ones behind it have had no event */
    uint32_t chosen;     /* in this answer */
    const float *logits; /* of the last token, or null */
    int has_text;
    bitx_stream stream;
    int32_t *token;
    void *work; /* of bitx_sample() */
    size_t work_bytes;
};

#endif /* BITX_GENERATOR_H */
