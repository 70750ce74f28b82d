/* ort_call.h - an operator of model.onnx as onnxruntime calls it, and as a bitx_call. */
#ifndef BITX_ORT_CALL_H
#define BITX_ORT_CALL_H

#include "ort_abi.h"
#include "session.h"

/* One line of ort_forms.def.  op is first: onnxruntime hands back its address. */
typedef struct ort_form {
    bitx_ort_op op;
    const char *name, *inputs, *outputs, *attributes;
    uint32_t code, layout;
    int is_fusion; /* code is that of a fusion */
} ort_form;

/* One more than an op has: the positions so far. */
enum { ORT_MOST_RANK = 8, ORT_MOST_INPUTS = BITX_MOST_INPUTS + 1 };

/* A tensor; the rows of one have no room between them. */
typedef struct ort_tensor {
    uint8_t *data;
    int64_t dims[ORT_MOST_RANK];
    size_t rank;
    uint32_t dtype; /* bitx_dtype; 0 for int64 */
    uint64_t elements;
} ort_tensor;

/* A node of a graph: never changes, so that any number of threads may run it. */
typedef struct ort_kernel {
    const ort_form *form;
    const bitx_ort_api *api;
    uint32_t inputs, outputs;
    uint32_t n, k, attribute[4];
    ort_tensor constant[ORT_MOST_INPUTS]; /* weights; no data: of a call */
    bitx_kernels kernels;
} ort_kernel;

/* A call in the making. */
typedef struct ort_call {
    const ort_kernel *kernel;
    bitx_ort_context *context;
    bitx_ort_status *status; /* the first that went wrong; whoever returns it is done */
    bitx_session session;
    bitx_call call;
    ort_tensor in[ORT_MOST_INPUTS], out[BITX_MOST_OUTPUTS];
    uint8_t *room; /* of all copies */
} ort_call;

/* Notes that something went wrong, unless something did before; `because` ends a sentence. */
void bitx_ort_refuse(ort_call *c, const char *because);

/* The same, of an op that ran or did not fit. */
void bitx_ort_refuse_status(ort_call *c, bitx_status status);

/* Reads the attributes of an op that moves a window over a picture, as the plan has them. */
bitx_ort_status *bitx_ort_read_window(ort_kernel *kernel, const bitx_ort_kernel_info *info);

/* Whether an operator is one of a single picture: its output says so. */
int bitx_ort_is_of_picture(const ort_form *form);

/* The shape of output i of such an operator; its rank, or 0 if its input is no picture of it. */
size_t bitx_ort_picture_dims(int64_t *dims, const ort_call *c, size_t i);

/* Reads a tensor.  On failure, what onnxruntime says or what we say of it. */
bitx_ort_status *bitx_ort_read(ort_tensor *tensor, const ort_kernel *kernel,
                               const bitx_ort_value *value);

/* Reads input i; 0 after a refusal. */
int bitx_ort_read_input(ort_call *c, size_t i);

/* Makes output i of a shape; 0 after a refusal. */
int bitx_ort_make_output(ort_call *c, size_t i, const int64_t *dims, size_t rank, uint32_t dtype);

/* The rows of a tensor whose last dimension are its columns, as a value. */
bitx_matrix bitx_ort_rows(const ort_tensor *tensor);

/* A tensor of one or two dimensions, plain. */
bitx_matrix bitx_ort_plain(const ort_tensor *tensor);

/* What can be said of a status to a person. */
const char *bitx_ort_meaning(bitx_status status);

/* Runs a kernel's op if its operands fit. */
void bitx_ort_run(ort_call *c, bitx_call *call);

/* Whether a tensor has these dimensions; -1 stands for any. */
int bitx_ort_has_dims(const ort_tensor *tensor, const int64_t *dims, size_t rank);

/* Ops that know which rows follow each other.  Every input is read. */
void bitx_ort_rope(ort_call *c);
void bitx_ort_append_cache(ort_call *c);
void bitx_ort_attend(ort_call *c);

/* Runs a fusion: call has its inputs, as the form lists them, and its outputs. */
void bitx_ort_run_fusion(ort_call *c, const bitx_call *call);

/* All others: row by row, whatever the leading dimensions mean. */
void bitx_ort_map_rows(ort_call *c);

#endif /* BITX_ORT_CALL_H */
