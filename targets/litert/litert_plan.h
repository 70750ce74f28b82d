/* litert_plan.h - the op ai.bitexport.Plan: a whole .bitx file, computed by the runtime.
 *
 * Its first input is the file.  Of a language model, tokens and the position of the first follow,
 * s32 both: at most as many as the model has seen, 0 to begin; the output is the logits of the last
 * token, and what came before lives in the op.  Of a network, its inputs follow and its outputs are
 * those of the plan, in the order of the plan's values; the first dimension counts rows.
 */
#ifndef BITX_LITERT_PLAN_H
#define BITX_LITERT_PLAN_H

#include "bitx_threads.h"
#include "litert_abi.h"
#include "records.h"

#define LITERT_OP_NAME "ai.bitexport.Plan"

enum { LITERT_MOST_PORTS = 32 };

/* An input or output of the graph, and what it is in the plan of a network. */
typedef struct litert_port {
    int tensor;
    const char *name;
    uint32_t fixed_rows; /* 0: those of the call */
    size_t row_bytes;
    int type;
} litert_port;

typedef struct litert_plan {
    int blob, inputs, outputs; /* the tensor of the file; how many others */
    litert_port in[LITERT_MOST_PORTS], out[LITERT_MOST_PORTS];
    bitx_model model;
    bitx_config config;
    bitx_session *session;
    bitx_threads threads;
    int has_threads, is_language_model;
    void *copy, *arena; /* of a file that does not lie aligned; of the session */
    bitx_status status; /* of opening */
} litert_plan;

litert_status bitx_litert_refuse(litert_context *context, const char *because);

/* Checks types and shapes, and gives outputs the rows that the inputs have. */
litert_status bitx_litert_prepare(litert_context *context, litert_node *node);

litert_status bitx_litert_invoke(litert_context *context, litert_node *node);

#endif /* BITX_LITERT_PLAN_H */
