/* bitexport.h - run an exported ternary model.
 *
 * C11 or C++.  Never allocates, never prints, keeps no global state.  The caller owns two blocks
 * of memory: the blob (a .bitx file, only read, may lie in flash) and the arena, which holds
 * everything else.  Both are aligned to 64 bytes.  There is nothing to close.
 *
 * What is computed, to the bit: runtime_ref/NUMERICS.md.  The file: targets/FORMAT.md.
 */
#ifndef BITEXPORT_H
#define BITEXPORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version that a file's "minimum runtime version" is compared with. */
#define BITX_RUNTIME_VERSION 1u

/* Part of the ABI: append, never renumber. */
typedef enum bitx_status {
    BITX_OK = 0,
    BITX_E_ARGUMENT = -1,    /* a pointer was null, misaligned, or a number out of range */
    BITX_E_MAGIC = -2,       /* this is no .bitx file */
    BITX_E_VERSION = -3,     /* the file is newer than this runtime */
    BITX_E_TRUNCATED = -4,   /* the file is shorter or longer than its header says */
    BITX_E_FORMAT = -5,      /* the file is damaged; bitx_model.rule says which rule it breaks */
    BITX_E_HASH = -6,        /* the file's bytes are not those that were written */
    BITX_E_UNSUPPORTED = -7, /* the file uses an op, dtype or layout that this runtime lacks */
    BITX_E_ARENA = -8,       /* the arena is smaller than bitx_session_size() asks */
    BITX_E_FULL = -9,        /* the context holds no further token */
    BITX_E_TOKEN = -10,      /* a token is outside the vocabulary */
    BITX_E_NOT_FINITE = -11, /* a NaN, an infinity, or a value too large for the cache's dtype */
    BITX_E_FLOATS = -12,     /* this build or core does not round as IEEE-754 asks */
    BITX_E_KERNEL = -13,     /* a fast kernel disagreed with its definition on this core */
    BITX_E_NAME = -14,       /* the plan has no input or output of that name, or one is missing,
                              * or two have one name */
    BITX_E_SELF_TEST = -15,  /* the self-test computed other bits than the file says */
    BITX_E_TEXT = -16,       /* a text is not well-formed UTF-8 */
    BITX_E_ROLE = -17,       /* the model's chat template has no form for this row of roles */
    BITX_E_MASK = -18,       /* masks and biases leave no token to choose */
    BITX_E_MODEL = -19,      /* the saved session is of another arithmetic: other weights, another
                              * model, or one built with other options of numbers */
    BITX_E_ROOM = -20        /* a buffer of the caller is too small */
} bitx_status;

/* Names a status, for logs.  Never null, even for a status it does not know. */
const char *bitx_status_name(bitx_status status);

/* ---- The model: a validated view of the blob ---------------------------------------------- */

typedef enum bitx_dtype {
    BITX_F32 = 1,
    BITX_F16 = 2,
    BITX_BF16 = 3,
    BITX_S8 = 4,
    BITX_U8 = 5,
    BITX_S32 = 6
} bitx_dtype;

/* One run of fixed-size records inside the blob. */
typedef struct bitx_section {
    const uint8_t *records;
    uint64_t bytes;
    uint32_t count; /* of records; 0 for a section of bytes */
} bitx_section;

/* Filled by bitx_model_open(); read, never write.  Copy it freely: it only points into the blob. */
typedef struct bitx_model {
    const uint8_t *blob;
    uint64_t blob_bytes;
    bitx_section facts, strings, tensors, values, ops, operands, data, self_test, provenance;
    bitx_section tokenizer, chat, generation, arithmetic; /* records: null where there is none */
    uint32_t rule;   /* after a failure: the number of the broken rule in FORMAT.md, else 0 */
    uint32_t record; /* and the record of the section that breaks it */
} bitx_model;

typedef struct bitx_facts {
    uint32_t is_language_model;
    uint32_t vocabulary, context, hidden, layers, heads, kv_heads, head_size;
    uint32_t bos; /* UINT32_MAX: none */
    uint32_t eos_count, eos[4];
    const char *name, *family;
} bitx_facts;

/* Checks the structure of a .bitx file (FORMAT.md, rules 1 to 23) and fills *model.  Costs the
 * same for any size of weights.  The blob must outlive the model. */
bitx_status bitx_model_open(bitx_model *model, const void *blob, size_t blob_bytes);

/* Compares the SHA-256 of every section with the stored one.  Reads the whole file. */
bitx_status bitx_model_check_hashes(bitx_model *model);

bitx_facts bitx_model_facts(const bitx_model *model);

/* ---- Instruction sets ---------------------------------------------------------------------- */

typedef enum bitx_isa {
    BITX_ISA_SCALAR = 1u << 0, /* always there */
    BITX_ISA_NEON = 1u << 1,
    BITX_ISA_DOTPROD = 1u << 2,
    BITX_ISA_AVX2 = 1u << 3,
    BITX_ISA_I8MM = 1u << 4,
    BITX_ISA_MVE = 1u << 5,
    BITX_ISA_DSP = 1u << 6,
    BITX_ISA_VNNI = 1u << 7
} bitx_isa;

/* The instruction sets that this core has and this library has kernels for. */
uint32_t bitx_isa_available(void);

/* Names one instruction set as targets/isa.toml does; null when the bit is not one. */
const char *bitx_isa_name(bitx_isa isa);

/* ---- A session: a model in the middle of a sequence ---------------------------------------- */

/* Runs task(argument, i) for every i in [0, count), in any order and on any threads, and returns
 * when all are done. */
typedef void (*bitx_task)(void *argument, size_t index);
typedef void (*bitx_parallel_for)(void *context, bitx_task task, void *argument, size_t count);

/* Called after every op of a traced run, once per output.  data: rows of stride bytes each, of
 * which the first columns elements count.  row_position: the position of the first row. */
typedef struct bitx_trace_event {
    uint32_t op, output, op_output; /* index in the plan; which output; running index over all */
    const char *value;              /* the value's name */
    bitx_dtype dtype;
    uint32_t rows, columns;
    size_t stride;
    const void *data;
    uint32_t row_position;
} bitx_trace_event;
typedef void (*bitx_trace)(void *context, const bitx_trace_event *event);

/* Set by bitx_config_default(); change what you need, leave the rest. */
typedef struct bitx_config {
    uint32_t context_tokens; /* how long a sequence may grow; 0: the model's own limit */
    uint32_t chunk_rows;     /* most rows that one pass computes: tokens, or a network's batch */
    uint32_t isa_mask;       /* kernels to consider, one at least available; ~0u: the best */
    uint32_t unfused;        /* run ops one by one; implied by trace */
    uint32_t keep_all_rows;  /* logits of every row, not only of the last; implied by trace */
    bitx_parallel_for parallel_for; /* null: everything on the calling thread */
    void *parallel_context;
    bitx_trace trace; /* null: no trace */
    void *trace_context;
    uint32_t kept_rows; /* most rows of a call whose logits a generator asks for; 0 is 1 */
} bitx_config;

bitx_config bitx_config_default(void);

/* Lives in the arena; needs no closing. */
typedef struct bitx_session bitx_session;

/* Says how many bytes of arena a session takes.  Exact: one byte less is BITX_E_ARENA. */
bitx_status bitx_session_size(size_t *bytes, const bitx_model *model, const bitx_config *config);

/* Lays a session out in the arena and checks that this core rounds floats as NUMERICS.md asks and
 * that the chosen kernels return what their definitions do.  Model, blob and arena must outlive
 * the session.  On failure *session is left null. */
bitx_status bitx_session_open(bitx_session **session, const bitx_model *model,
                              const bitx_config *config, void *arena, size_t arena_bytes);

/* Forgets the sequence; the next token is at position 0. */
void bitx_session_reset(bitx_session *session);

/* How many tokens the session holds. */
uint32_t bitx_session_position(const bitx_session *session);

/* Forgets all but the first `position` tokens; what follows is as if no other had been there. */
bitx_status bitx_session_rewind(bitx_session *session, uint32_t position);

/* The instruction set whose kernels the session runs: the best of those it may use. */
bitx_isa bitx_session_isa(const bitx_session *session);

/* A named input or output.  data: rows times columns elements, rows one after the other, in the
 * dtype of the plan's value. */
typedef struct bitx_tensor {
    const char *name;
    void *data;
    uint32_t rows;
} bitx_tensor;

/* Runs the plan once over rows rows (at most chunk_rows).  Every input must be given; of the
 * outputs, those wanted.  An output with kept rows receives its last `rows` rows. */
bitx_status bitx_run(bitx_session *session, uint32_t rows, const bitx_tensor *inputs,
                     size_t input_count, const bitx_tensor *outputs, size_t output_count);

/* Appends tokens, in chunks of chunk_rows.  *logits, unless null, then points at one float per
 * vocabulary entry for the last token, in the arena, until the next call.  On failure the
 * session's position is that before the call. */
bitx_status bitx_prefill(bitx_session *session, const int32_t *tokens, size_t count,
                         const float **logits);

/* Appends one token: bitx_prefill() of one. */
bitx_status bitx_step(bitx_session *session, int32_t token, const float **logits);

/* The token with the largest logit; of equal ones, the lowest id. */
int32_t bitx_greedy(const float *logits, size_t count);

/* ---- Self-test ----------------------------------------------------------------------------- */

typedef struct bitx_self_test_result {
    uint32_t position;  /* first position that differs, or the number of positions compared */
    uint32_t op_output; /* with chains: first op output that differs; else UINT32_MAX */
} bitx_self_test_result;

/* Runs the prompt that the file carries and compares tokens and logits with what the reference
 * computed when the file was built.  With chains (chains_bytes >= 32 for every op output in the
 * plan; the session opened with keep_all_rows and unfused) every op output is compared too.
 * Resets the session before and after.  BITX_E_ARGUMENT if the file has no self-test. */
bitx_status bitx_self_test(bitx_session *session, void *chains, size_t chains_bytes,
                           bitx_self_test_result *result);

#ifdef __cplusplus
}
#endif
#endif /* BITEXPORT_H */
