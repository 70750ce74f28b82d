/* litert_delegate.c - a delegate of LiteRT that runs the op ai.bitexport.Plan with the runtime. */
#include "litert_plan.h"

#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

litert_status bitx_litert_refuse(litert_context *context, const char *because)
{
    context->report_error(context, "%s: %s", LITERT_OP_NAME, because);
    return LITERT_ERROR;
}

/* Memory that is aligned as the runtime asks. */
static void *allocate(size_t bytes)
{
    return aligned_alloc(BITX_ALIGNMENT, (size_t)bitx_round_up(bytes, BITX_ALIGNMENT));
}

static const void *aligned_blob(litert_plan *plan, const litert_tensor *tensor)
{
    if (!tensor->data || bitx_is_aligned(tensor->data)) return tensor->data;
    plan->copy = allocate(tensor->bytes);
    if (plan->copy) memcpy(plan->copy, tensor->data, tensor->bytes);
    return plan->copy;
}

static void start_threads(litert_plan *plan, int wanted)
{
    const unsigned count = wanted > BITX_MOST_THREADS ? BITX_MOST_THREADS : (unsigned)wanted;
    if (wanted < 2 || bitx_threads_start(&plan->threads, count) != 0) return;
    plan->has_threads = 1;
    plan->config.parallel_for = bitx_threads_for;
    plan->config.parallel_context = &plan->threads;
}

/* 0 for a dtype that no graph has at its ends. */
static int type_of(uint32_t dtype)
{
    switch (dtype) {
    case BITX_F32: return LITERT_F32;
    case BITX_S32: return LITERT_S32;
    case BITX_U8:  return LITERT_U8;
    case BITX_S8:  return LITERT_S8;
    default:       return 0;
    }
}

/* Describes what a network takes or gives; 0 if the graph has another number of tensors. */
static int describe_ports(const bitx_model *model, uint32_t role, litert_port *ports, int count)
{
    int found = 0;
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role != role) continue;
        if (found == count) return 0;
        ports[found].name = bitx_string(model, value.name);
        ports[found].fixed_rows = value.row_kind == BITX_ROWS_FIXED ? value.rows : 0;
        ports[found].row_bytes = (size_t)value.columns * bitx_element_bytes(value.dtype);
        ports[found++].type = type_of(value.dtype);
    }
    return found == count;
}

static bitx_status open_plan(litert_plan *plan, const litert_tensor *tensor, int threads)
{
    size_t bytes;
    const void *blob = aligned_blob(plan, tensor);
    bitx_model *model = &plan->model;
    bitx_status status = bitx_model_open(model, blob, blob ? tensor->bytes : 0);
    if (status == BITX_OK) status = bitx_model_check_hashes(model);
    if (status != BITX_OK) return status;
    plan->is_language_model = (int)bitx_model_facts(model).is_language_model;
    if (plan->is_language_model ? plan->inputs != 2 || plan->outputs != 1
                                : !describe_ports(model, BITX_INPUT, plan->in, plan->inputs) ||
                                      !describe_ports(model, BITX_OUTPUT, plan->out, plan->outputs))
        return BITX_E_NAME;
    plan->config = bitx_config_default();
    start_threads(plan, threads);
    status = bitx_session_size(&bytes, model, &plan->config);
    if (status != BITX_OK) return status;
    plan->arena = allocate(bytes);
    if (!plan->arena) return BITX_E_ARENA;
    return bitx_session_open(&plan->session, model, &plan->config, plan->arena, bytes);
}

static bitx_status take_node(litert_plan *plan, litert_context *context, int index)
{
    litert_registration *of_node;
    litert_node *node;
    if (context->get_node_and_registration(context, index, &node, &of_node) != LITERT_OK)
        return BITX_E_ARGUMENT;
    plan->inputs = node->inputs->size - 1;
    plan->outputs = node->outputs->size;
    if (plan->inputs < 1 || plan->inputs > LITERT_MOST_PORTS || plan->outputs < 1 ||
        plan->outputs > LITERT_MOST_PORTS)
        return BITX_E_NAME;
    plan->blob = node->inputs->data[0];
    for (int i = 0; i < plan->inputs; i++)
        plan->in[i].tensor = node->inputs->data[1 + i];
    for (int i = 0; i < plan->outputs; i++)
        plan->out[i].tensor = node->outputs->data[i];
    return open_plan(plan, &context->tensors[plan->blob], context->recommended_num_threads);
}

static void *init(litert_context *context, const char *buffer, size_t length)
{
    const litert_delegate_params *params = (const void *)buffer;
    litert_plan *plan = calloc(1, sizeof *plan);
    (void)length;
    if (!plan) return NULL;
    plan->status = params->nodes->size == 1 ? take_node(plan, context, params->nodes->data[0])
                                            : BITX_E_UNSUPPORTED;
    return plan;
}

static void release(litert_context *context, void *buffer)
{
    litert_plan *plan = buffer;
    (void)context;
    if (!plan) return;
    if (plan->has_threads) bitx_threads_stop(&plan->threads);
    free(plan->arena);
    free(plan->copy);
    free(plan);
}

static int is_ours(litert_context *context, int index)
{
    litert_node *node;
    litert_registration *of_node;
    if (context->get_node_and_registration(context, index, &node, &of_node) != LITERT_OK) return 0;
    return of_node->custom_name && strcmp(of_node->custom_name, LITERT_OP_NAME) == 0;
}

static litert_status claim(litert_context *context, litert_delegate *delegate)
{
    const litert_registration kernel = {.init = init,
                                        .free = release,
                                        .prepare = bitx_litert_prepare,
                                        .invoke = bitx_litert_invoke,
                                        .custom_name = "bitexport",
                                        .version = 1};
    litert_ints *plan;
    if (context->get_execution_plan(context, &plan) != LITERT_OK) return LITERT_ERROR;
    litert_ints *ours = malloc(sizeof *ours + (size_t)plan->size * sizeof ours->data[0]);
    if (!ours) return bitx_litert_refuse(context, "there is no memory left");
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
