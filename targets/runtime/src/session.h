/* session.h - what lives at the start of the arena. */
#ifndef BITX_SESSION_H
#define BITX_SESSION_H

#include "kernels.h"
#include "ops.h"

struct bitx_session {
    const bitx_model *model;
    bitx_config config;
    bitx_kernels kernels;
    uint32_t context, chunk_rows; /* as the config and the model say together */
    uint32_t position;
    uint32_t kept; /* rows that a call keeps; while the arena is laid out: the most */
    int fused;
    uint32_t tokens, logits; /* values; BITX_NONE in a network */
    uint32_t vocabulary;
    const size_t *value_at; /* per value, bytes from the start of the arena */
    uint8_t *scores;        /* per head of Attend, one float per position */
    size_t scores_stride;
    uint8_t *scratch; /* for tables of the op that runs (lookup.h) */
};

static inline uint8_t *bitx_value_data(const bitx_session *session, uint32_t value)
{
    return (uint8_t *)(uintptr_t)session + session->value_at[value];
}

/* How many rows of a call are kept: the last ones, or all. */
static inline uint32_t bitx_kept_rows(const bitx_session *session, uint32_t rows)
{
    return session->config.keep_all_rows || rows < session->kept ? rows : session->kept;
}

/* How many rows a value has when a call has this many. */
uint32_t bitx_value_rows(const bitx_session *session, const bitx_value_record *value,
                         uint32_t rows);

/* Appends tokens, at most chunk_rows, in one call that keeps the logits of the last `kept` rows
 * (0: of none); the first of these is at *logits, each next one *stride floats on. */
bitx_status bitx_append(bitx_session *session, const int32_t *tokens, uint32_t count, uint32_t kept,
                        const float **logits, size_t *stride);

/* Runs the plan on the rows that its inputs hold.  Does not move the position. */
bitx_status bitx_execute(const bitx_session *session, uint32_t rows);

/* The same as config.parallel_for says, or on this thread. */
void bitx_parallel(const bitx_session *session, bitx_task task, void *argument, size_t count);

/* What an op does to row t; the argument is the op's, as a rule its bitx_call. */
typedef void (*bitx_row_task)(const void *argument, uint32_t t);

/* The task for every row, some rows at a time in parallel. */
void bitx_parallel_rows(const bitx_session *session, bitx_row_task task, const void *argument,
                        uint32_t rows);

#endif /* BITX_SESSION_H */
