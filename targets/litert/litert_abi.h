/* litert_abi.h - what a delegate needs of TensorFlow Lite's C interface: no wheel has the headers.
 *
 * Fields and their order are those of tflite/core/c/common.h, of LiteRT 2 as of
 * tflite-runtime 2.14: later versions have appended fields, which are 0 here or not read.
 */
#ifndef BITX_LITERT_ABI_H
#define BITX_LITERT_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum litert_status { LITERT_OK = 0, LITERT_ERROR = 1 } litert_status;

enum { LITERT_F32 = 1, LITERT_S32 = 2, LITERT_U8 = 3, LITERT_S8 = 9 };

/* Without it a graph with an op that only a delegate knows is refused before it gets to one. */
enum { LITERT_ALLOW_DYNAMIC_TENSORS = 1 };

typedef struct litert_ints {
    int size;
    int data[];
} litert_ints;

typedef struct litert_context litert_context;
typedef struct litert_delegate litert_delegate;

typedef struct litert_tensor {
    int type;
    void *data;
    litert_ints *dims;
    struct {
        float scale;
        int32_t zero_point;
    } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    litert_delegate *delegate;
    int buffer_handle;
    bool data_is_stale, is_variable;
    struct {
        int type;
        void *params;
    } quantization;
    void *sparsity;
    const litert_ints *dims_signature;
} litert_tensor;

typedef struct litert_node {
    litert_ints *inputs, *outputs, *intermediates, *temporaries;
    void *user_data, *builtin_data;
    const void *custom_initial_data;
    int custom_initial_data_size;
} litert_node; /* and more */

typedef struct litert_registration {
    void *(*init)(litert_context *context, const char *buffer, size_t length);
    void (*free)(litert_context *context, void *buffer);
    litert_status (*prepare)(litert_context *context, litert_node *node);
    litert_status (*invoke)(litert_context *context, litert_node *node);
    const char *(*profiling_string)(const litert_context *context, const litert_node *node);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external;
    void *(*async_kernel)(litert_context *context, litert_node *node);
    uint64_t inplace_operator;
    uint64_t reserved[4]; /* it is passed by value: room for what comes */
} litert_registration;

struct litert_context {
    size_t tensors_size;
    litert_status (*get_execution_plan)(litert_context *context, litert_ints **plan);
    litert_tensor *tensors;
    void *implementation;
    litert_status (*resize_tensor)(litert_context *context, litert_tensor *tensor, litert_ints *to);
    void (*report_error)(litert_context *context, const char *format, ...);
    litert_status (*add_tensors)(litert_context *context, int count, int *first);
    litert_status (*get_node_and_registration)(litert_context *context, int index,
                                               litert_node **node, litert_registration **of_node);
    litert_status (*replace_nodes)(litert_context *context, litert_registration kernel,
                                   const litert_ints *nodes, litert_delegate *delegate);
    int recommended_num_threads;
}; /* and more */

struct litert_delegate {
    void *data;
    litert_status (*prepare)(litert_context *context, litert_delegate *delegate);
    void *copy_from_buffer_handle, *copy_to_buffer_handle, *free_buffer_handle; /* functions */
    int64_t flags;
    void *opaque_delegate_builder;
};

/* What init of a delegate's kernel gets as its buffer. */
typedef struct litert_delegate_params {
    litert_delegate *delegate;
    litert_ints *nodes, *inputs, *outputs;
} litert_delegate_params;

#endif /* BITX_LITERT_ABI_H */
