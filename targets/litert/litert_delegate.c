/* litert_delegate.c - a delegate of LiteRT that runs the op ai.bitexport.Plan with the runtime.
 *
 * The op is a step of a language model.  Inputs: a whole .bitx file, tokens (s32), and the position
 * of the first of them (s32): at most as many as the model has seen, 0 to begin.  Output: the
 * logits of the last token.  What came before lives in the op, not in the graph.
 */
#include "bitx_threads.h"
#include "litert_abi.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

static const char OP_NAME[] = "ai.bitexport.Plan";

enum { BLOB, TOKENS, POSITION, INPUTS };

typedef struct plan_op {
    int input[INPUTS], output; /* tensors of the graph */
    void *copy;                /* of a file that does not lie aligned */
    void *arena;
    bitx_model model;
    bitx_session *session;
    bitx_threads threads;
    int has_threads;
    bitx_status status; /* of opening */
} plan_op;

/* Memory that is aligned as the runtime asks. */
static void *allocate(size_t bytes)
{
    return aligned_alloc(BITX_ALIGNMENT, (size_t)bitx_round_up(bytes, BITX_ALIGNMENT));
}

static const void *aligned_blob(plan_op *op, const litert_tensor *tensor)
{
    if (!tensor->data || bitx_is_aligned(tensor->data)) return tensor->data;
    op->copy = allocate(tensor->bytes);
    if (op->copy) memcpy(op->copy, tensor->data, tensor->bytes);
    return op->copy;
}

static void start_threads(plan_op *op, bitx_config *config, int wanted)
{
    const unsigned count = wanted > BITX_MOST_THREADS ? BITX_MOST_THREADS : (unsigned)wanted;
    if (wanted < 2 || bitx_threads_start(&op->threads, count) != 0) return;
    op->has_threads = 1;
    config->parallel_for = bitx_threads_for;
    config->parallel_context = &op->threads;
}

static bitx_status open_plan(plan_op *op, const litert_tensor *tensor, int threads)
{
    bitx_config config = bitx_config_default();
    size_t bytes;
    const void *blob = aligned_blob(op, tensor);
    bitx_status status = bitx_model_open(&op->model, blob, blob ? tensor->bytes : 0);
    if (status == BITX_OK) status = bitx_model_check_hashes(&op->model);
    if (status != BITX_OK) return status;
    if (!bitx_model_facts(&op->model).is_language_model) return BITX_E_UNSUPPORTED;
    start_threads(op, &config, threads);
    status = bitx_session_size(&bytes, &op->model, &config);
    if (status != BITX_OK) return status;
    op->arena = allocate(bytes);
    if (!op->arena) return BITX_E_ARENA;
    return bitx_session_open(&op->session, &op->model, &config, op->arena, bytes);
}

static void *init(litert_context *context, const char *buffer, size_t length)
{
    const litert_delegate_params *params = (const void *)buffer;
    litert_registration *of_node;
    litert_node *node;
    plan_op *op = calloc(1, sizeof *op);
    (void)length;
    if (!op) return NULL;
    op->status = BITX_E_ARGUMENT;
    if (params->nodes->size != 1 ||
        context->get_node_and_registration(context, params->nodes->data[0], &node, &of_node) !=
            LITERT_OK ||
        node->inputs->size != INPUTS || node->outputs->size != 1)
        return op;
    for (int i = 0; i < INPUTS; i++)
        op->input[i] = node->inputs->data[i];
    op->output = node->outputs->data[0];
    op->status =
        open_plan(op, &context->tensors[op->input[BLOB]], context->recommended_num_threads);
    return op;
}

static void release(litert_context *context, void *buffer)
{
    plan_op *op = buffer;
    (void)context;
    if (!op) return;
    if (op->has_threads) bitx_threads_stop(&op->threads);
    free(op->arena);
    free(op->copy);
    free(op);
}

static litert_status refuse(litert_context *context, const char *because)
{
    context->report_error(context, "%s: %s", OP_NAME, because);
    return LITERT_ERROR;
}

static int is_of(const litert_tensor *tensor, int type, size_t count)
{
    return tensor->type == type && tensor->bytes == 4 * count;
}

static litert_status prepare(litert_context *context, litert_node *node)
{
    const plan_op *op = node->user_data;
    if (!op) return refuse(context, "there is no memory left");
    if (op->status != BITX_OK) return refuse(context, bitx_status_name(op->status));
    const litert_tensor *tokens = &context->tensors[op->input[TOKENS]];
    if (!is_of(tokens, LITERT_S32, tokens->bytes / 4) || tokens->bytes == 0 ||
        !is_of(&context->tensors[op->input[POSITION]], LITERT_S32, 1) ||
        !is_of(&context->tensors[op->output], LITERT_F32, bitx_model_facts(&op->model).vocabulary))
        return refuse(context, "a tensor has a type or a shape that does not fit the others");
    return LITERT_OK;
}

static litert_status invoke(litert_context *context, litert_node *node)
{
    plan_op *op = node->user_data;
    const litert_tensor *tokens = &context->tensors[op->input[TOKENS]];
    const int32_t position = *(const int32_t *)context->tensors[op->input[POSITION]].data;
    litert_tensor *output = &context->tensors[op->output];
    const float *logits;
    if (position < 0 || (uint32_t)position > bitx_session_position(op->session))
        return refuse(context, "the position is beyond what the model has seen; begin with 0");
    bitx_status status = bitx_session_rewind(op->session, (uint32_t)position);
    if (status == BITX_OK)
        status = bitx_prefill(op->session, tokens->data, tokens->bytes / 4, &logits);
    if (status != BITX_OK) return refuse(context, bitx_status_name(status));
    memcpy(output->data, logits, output->bytes);
    return LITERT_OK;
}

static int is_ours(litert_context *context, int index)
{
    litert_node *node;
    litert_registration *of_node;
    if (context->get_node_and_registration(context, index, &node, &of_node) != LITERT_OK) return 0;
    return of_node->custom_name && strcmp(of_node->custom_name, OP_NAME) == 0;
}

static litert_status claim(litert_context *context, litert_delegate *delegate)
{
    const litert_registration kernel = {.init = init,
                                        .free = release,
                                        .prepare = prepare,
                                        .invoke = invoke,
                                        .custom_name = "bitexport",
                                        .version = 1};
    litert_ints *plan;
    if (context->get_execution_plan(context, &plan) != LITERT_OK) return LITERT_ERROR;
    litert_ints *ours = malloc(sizeof *ours + (size_t)plan->size * sizeof ours->data[0]);
    if (!ours) return refuse(context, "there is no memory left");
    ours->size = 0;
    for (int i = 0; i < plan->size; i++)
        if (is_ours(context, plan->data[i])) ours->data[ours->size++] = plan->data[i];
    const litert_status status = context->replace_nodes(context, kernel, ours, delegate);
    free(ours);
    return status;
}

/* The two functions that LiteRT looks for in an external delegate; there are no options. */
EXPORTED litert_delegate *tflite_plugin_create_delegate(const char *const *keys,
                                                        const char *const *values, size_t count,
                                                        void (*report)(const char *text));
EXPORTED void tflite_plugin_destroy_delegate(litert_delegate *delegate);

litert_delegate *tflite_plugin_create_delegate(const char *const *keys, const char *const *values,
                                               size_t count, void (*report)(const char *text))
{
    (void)keys;
    (void)values;
    if (count > 0) {
        if (report) report("bitexport: the delegate takes no options");
        return NULL;
    }
    litert_delegate *delegate = calloc(1, sizeof *delegate);
    if (!delegate) return NULL;
    delegate->prepare = claim;
    delegate->flags = LITERT_ALLOW_DYNAMIC_TENSORS;
    return delegate;
}

void tflite_plugin_destroy_delegate(litert_delegate *delegate)
{
    free(delegate);
}
