/* bitexport_generate.h - choose tokens, and generate text with a session that can be cancelled,
 * continued, forked and saved.
 *
 * The same seed, logits and history give the same token on every device: NUMERICS.md, section 8.
 * As in bitexport.h, the caller owns all memory.
 */
#ifndef BITEXPORT_GENERATE_H
#define BITEXPORT_GENERATE_H

#include "bitexport_text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BITX_ALL 0xffffffffu

/* Added to the logit of one token; -INFINITY forbids it. */
typedef struct bitx_bias {
    int32_t token;
    float bias;
} bitx_bias;

/* Says which tokens may follow: clears bit t % 32 of allowed[t / 32] for every token t that may
 * not.  All bits are set before. */
typedef void (*bitx_token_mask)(void *context, const int32_t *history, size_t count,
                                uint32_t *allowed, uint32_t vocabulary);

/* Set by bitx_sampler_greedy() or bitx_sampler_of_model(); change what you need. */
typedef struct bitx_sampler {
    float temperature;         /* 0: the largest logit, of equal ones the lowest id */
    uint32_t top_k;            /* at least 1; BITX_ALL: every token */
    float top_p;               /* above 0, at most 1 */
    float min_p;               /* 0 to 1 */
    float repetition;          /* above 0; 1: no penalty */
    float presence, frequency; /* 0: no penalty */
    uint32_t window;           /* how many of the last tokens penalties look at; BITX_ALL */
    uint64_t seed;
    const bitx_bias *bias;
    size_t bias_count;
    bitx_token_mask mask; /* null: every token may follow */
    void *mask_context;
} bitx_sampler;

bitx_sampler bitx_sampler_greedy(void);

/* What the model's generation_config.json asks for; greedy if the file has none.  The seed is 0. */
bitx_status bitx_sampler_of_model(bitx_sampler *sampler, const bitx_model *model);

/* Whether the numbers are allowed. */
bitx_status bitx_sampler_check(const bitx_sampler *sampler);

/* Bytes of work that bitx_sample() needs. */
size_t bitx_sample_room(uint32_t vocabulary);

/* Chooses the token that follows `count` tokens of history.  work: aligned to 4. */
bitx_status bitx_sample(int32_t *token, const bitx_sampler *sampler, const float *logits,
                        uint32_t vocabulary, const int32_t *history, size_t count, void *work,
                        size_t work_bytes);

/* ---- A generator: a session, the tokens in it, and what is to come -------------------------- */

typedef enum bitx_when_full {
    BITX_WHEN_FULL_STOP = 0,
    BITX_WHEN_FULL_SHIFT = 1 /* drop half of the tokens behind the first `keep`, and go on */
} bitx_when_full;

typedef enum bitx_event_kind {
    BITX_EVENT_PREFILL = 1, /* a chunk of what was given has been read */
    BITX_EVENT_TEXT = 2,    /* a token was chosen; its text may have to wait, and be empty */
    BITX_EVENT_END = 3      /* the one last event of an answer; its text is what was held back */
} bitx_event_kind;

typedef enum bitx_end {
    BITX_END_STOP = 1,   /* an end-of-sequence or stop token, which is not kept, or a stop string */
    BITX_END_LENGTH = 2, /* as many tokens as were asked for */
    BITX_END_FULL = 3,   /* the context is full */
    BITX_END_CANCELLED = 4,
    BITX_END_ERROR = 5 /* event.status says which */
} bitx_end;

typedef struct bitx_event {
    bitx_event_kind kind;
    bitx_end end;         /* of BITX_EVENT_END */
    bitx_status status;   /* of BITX_END_ERROR, else BITX_OK */
    uint32_t done, total; /* of BITX_EVENT_PREFILL: tokens */
    int32_t token;        /* that was chosen, one that ends the answer too; or -1 */
    const char *text;     /* complete UTF-8, until the next call; not ended by a zero byte */
    size_t bytes;
} bitx_event;

enum { BITX_MOST_DRAFTED = 8, BITX_MOST_STOP_TOKENS = 8 };

/* How an answer is made.  Set by bitx_answer_default(); change what you need. */
typedef struct bitx_answer {
    bitx_sampler sampler;
    uint32_t most_tokens;       /* BITX_ALL: until it ends by itself */
    const int32_t *stop_tokens; /* besides those of the model and its chat template */
    uint32_t stop_token_count;  /* at most BITX_MOST_STOP_TOKENS */
    uint32_t ignore_ends;       /* go on behind end-of-sequence and the template's stop tokens */
    bitx_when_full when_full;
    uint32_t keep;  /* of BITX_WHEN_FULL_SHIFT */
    uint32_t draft; /* tokens to draft by prompt lookup, at most BITX_MOST_DRAFTED; the session
                     * needs kept_rows and chunk_rows of draft + 1 */
    bitx_stream_config stream;
} bitx_answer;

/* The model's own sampler and stop tokens; no other limit. */
bitx_status bitx_answer_default(bitx_answer *answer, const bitx_model *model);

/* Lives in memory of the caller, aligned to 64; needs no closing. */
typedef struct bitx_generator bitx_generator;

/* Bytes of memory for a session of this context (0: the model's). */
bitx_status bitx_generator_size(size_t *bytes, const bitx_model *model, uint32_t context);

/* Lays a generator out for a session at position 0, which must outlive it.  From then on the
 * session belongs to the generator. */
bitx_status bitx_generator_open(bitx_generator **generator, bitx_session *session, void *memory,
                                size_t bytes);

/* Forgets every token. */
void bitx_generator_reset(bitx_generator *generator);

/* Appends tokens that are to be read before the next answer. */
bitx_status bitx_generator_give(bitx_generator *generator, const int32_t *tokens, size_t count);

/* Drops half of the tokens behind the first `keep`; the others are read again.  Between answers;
 * BITX_E_FULL if there are no more than `keep`. */
bitx_status bitx_generator_shift(bitx_generator *generator, uint32_t keep);

/* Begins an answer to what was given, or again one that was cancelled or failed.  What `answer`
 * points at must live until the answer ends. */
bitx_status bitx_generator_start(bitx_generator *generator, const bitx_answer *answer);

/* Does one chunk of reading or one step of choosing.  BITX_E_ARGUMENT behind the end event. */
bitx_status bitx_generator_next(bitx_generator *generator, bitx_event *event);

/* Ends the answer before its next chunk or step; from any thread or signal handler. */
void bitx_generator_cancel(bitx_generator *generator);

/* The tokens so far: given, read or chosen. */
const int32_t *bitx_generator_tokens(const bitx_generator *generator, uint32_t *count);

/* Makes `to` continue as `from` would: generators of one model, `to` with room for the tokens. */
bitx_status bitx_generator_fork(bitx_generator *to, const bitx_generator *from);

/* Writes the tokens and the states (FORMAT.md, section 4); reads them on any device, from a file of
 * any layout and context that says the same arithmetic (section 3.12), else BITX_E_MODEL.  A file
 * that does not say is BITX_E_ARGUMENT, and its size 0. */
size_t bitx_generator_save_size(const bitx_generator *generator);
bitx_status bitx_generator_save(const bitx_generator *generator, void *bytes, size_t room);
bitx_status bitx_generator_restore(bitx_generator *generator, const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif
#endif /* BITEXPORT_GENERATE_H */
