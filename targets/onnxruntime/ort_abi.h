/* ort_abi.h - the slice of onnxruntime's C interface that is called here, declared by hand.
 *
 * The interface is a table of functions that only grows: the place of a function in it is ABI.  The
 * places are those of onnxruntime_c_api.h in version 1.17 (github.com/microsoft/onnxruntime, MIT;
 * include/onnxruntime/core/session), and the same in every later version.  Names are ours.
 */
#ifndef BITX_ORT_ABI_H
#define BITX_ORT_ABI_H

#include <stddef.h>
#include <stdint.h>

/* The version of the table that is asked for: the first with all that is used. */
enum { BITX_ORT_API_VERSION = 17 };

typedef struct bitx_ort_status bitx_ort_status; /* null: all is well; else to be released */
typedef struct bitx_ort_env bitx_ort_env;
typedef struct bitx_ort_session bitx_ort_session;
typedef struct bitx_ort_options bitx_ort_options;
typedef struct bitx_ort_run_options bitx_ort_run_options;
typedef struct bitx_ort_domain bitx_ort_domain;
typedef struct bitx_ort_kernel_info bitx_ort_kernel_info;
typedef struct bitx_ort_context bitx_ort_context;
typedef struct bitx_ort_value bitx_ort_value;
typedef struct bitx_ort_shape bitx_ort_shape;
typedef struct bitx_ort_type bitx_ort_type;
typedef struct bitx_ort_memory bitx_ort_memory;
typedef struct bitx_ort_allocator bitx_ort_allocator;
typedef struct bitx_ort_op bitx_ort_op;

typedef enum bitx_ort_code { BITX_ORT_FAIL = 1, BITX_ORT_INVALID_ARGUMENT = 2 } bitx_ort_code;

typedef enum bitx_ort_dtype {
    BITX_ORT_ANY = 0, /* of an operator's operand: whatever it is given */
    BITX_ORT_F32 = 1,
    BITX_ORT_U8 = 2,
    BITX_ORT_S8 = 3,
    BITX_ORT_S32 = 6,
    BITX_ORT_S64 = 7,
    BITX_ORT_F16 = 10,
    BITX_ORT_BF16 = 16
} bitx_ort_dtype;

typedef void (*bitx_ort_slot)(void);

typedef struct bitx_ort_api {
    bitx_ort_status *(*create_status)(bitx_ort_code code, const char *message);
    bitx_ort_slot from_1[1];
    const char *(*error_message)(const bitx_ort_status *status);
    bitx_ort_status *(*create_env)(int log_level, const char *name, bitx_ort_env **env);
    bitx_ort_slot from_4[3];
    bitx_ort_status *(*create_session_of_file)(const bitx_ort_env *env, const char *path,
                                               const bitx_ort_options *options,
                                               bitx_ort_session **session);
    bitx_ort_status *(*create_session)(const bitx_ort_env *env, const void *model, size_t bytes,
                                       const bitx_ort_options *options, bitx_ort_session **session);
    bitx_ort_status *(*run)(bitx_ort_session *session, const bitx_ort_run_options *options,
                            const char *const *input_names, const bitx_ort_value *const *inputs,
                            size_t input_count, const char *const *output_names,
                            size_t output_count, bitx_ort_value **outputs);
    bitx_ort_status *(*create_options)(bitx_ort_options **options);
    bitx_ort_slot from_11[12];
    bitx_ort_status *(*set_optimization)(bitx_ort_options *options, int level);
    bitx_ort_status *(*set_threads)(bitx_ort_options *options, int threads);
    bitx_ort_slot from_25[1];
    bitx_ort_status *(*create_domain)(const char *name, bitx_ort_domain **domain);
    bitx_ort_status *(*add_op)(bitx_ort_domain *domain, const bitx_ort_op *op);
    bitx_ort_status *(*add_domain)(bitx_ort_options *options, bitx_ort_domain *domain);
    bitx_ort_status *(*register_library)(bitx_ort_options *options, const char *path,
                                         void **handle);
    bitx_ort_status *(*input_count)(const bitx_ort_session *session, size_t *count);
    bitx_ort_status *(*output_count)(const bitx_ort_session *session, size_t *count);
    bitx_ort_slot from_32[1];
    bitx_ort_status *(*input_type)(const bitx_ort_session *session, size_t index,
                                   bitx_ort_type **type);
    bitx_ort_slot from_34[2];
    bitx_ort_status *(*input_name)(const bitx_ort_session *session, size_t index,
                                   bitx_ort_allocator *allocator, char **name);
    bitx_ort_status *(*output_name)(const bitx_ort_session *session, size_t index,
                                    bitx_ort_allocator *allocator, char **name);
    bitx_ort_slot from_38[11];
    bitx_ort_status *(*create_tensor)(const bitx_ort_memory *memory, void *data, size_t bytes,
                                      const int64_t *shape, size_t rank, bitx_ort_dtype dtype,
                                      bitx_ort_value **value);
    bitx_ort_slot from_50[1];
    bitx_ort_status *(*tensor_data)(bitx_ort_value *value, void **data);
    bitx_ort_slot from_52[3];
    bitx_ort_status *(*shape_of_type)(const bitx_ort_type *type, const bitx_ort_shape **shape);
    bitx_ort_slot from_56[4];
    bitx_ort_status *(*element_type)(const bitx_ort_shape *shape, bitx_ort_dtype *dtype);
    bitx_ort_status *(*rank)(const bitx_ort_shape *shape, size_t *rank);
    bitx_ort_status *(*dimensions)(const bitx_ort_shape *shape, int64_t *dims, size_t rank);
    bitx_ort_slot from_63[2];
    bitx_ort_status *(*shape_of_value)(const bitx_ort_value *value, bitx_ort_shape **shape);
    bitx_ort_slot from_66[3];
    bitx_ort_status *(*create_cpu_memory)(int allocator_type, int memory_type,
                                          bitx_ort_memory **memory);
    bitx_ort_slot from_70[6];
    bitx_ort_status *(*release_allocated)(bitx_ort_allocator *allocator, void *bytes);
    bitx_ort_slot from_77[1];
    bitx_ort_status *(*default_allocator)(bitx_ort_allocator **allocator);
    bitx_ort_slot from_79[6];
    bitx_ort_status *(*attribute_float)(const bitx_ort_kernel_info *info, const char *name,
                                        float *value);
    bitx_ort_status *(*attribute_int)(const bitx_ort_kernel_info *info, const char *name,
                                      int64_t *value);
    bitx_ort_slot from_87[1];
    bitx_ort_status *(*context_input_count)(const bitx_ort_context *context, size_t *count);
    bitx_ort_slot from_89[1];
    bitx_ort_status *(*context_input)(const bitx_ort_context *context, size_t index,
                                      const bitx_ort_value **value);
    bitx_ort_status *(*context_output)(bitx_ort_context *context, size_t index, const int64_t *dims,
                                       size_t rank, bitx_ort_value **value);
    void (*release_env)(bitx_ort_env *env);
    void (*release_status)(bitx_ort_status *status);
    void (*release_memory)(bitx_ort_memory *memory);
    void (*release_session)(bitx_ort_session *session);
    void (*release_value)(bitx_ort_value *value);
    bitx_ort_slot from_97[1];
    void (*release_type)(bitx_ort_type *type);
    void (*release_shape)(bitx_ort_shape *shape);
    void (*release_options)(bitx_ort_options *options);
    void (*release_domain)(bitx_ort_domain *domain);
    bitx_ort_slot from_102[28];
    bitx_ort_status *(*add_option)(bitx_ort_options *options, const char *key, const char *value);
    bitx_ort_slot from_131[32];
    bitx_ort_status *(*attribute_ints)(const bitx_ort_kernel_info *info, const char *name,
                                       int64_t *values, size_t *count);
    bitx_ort_slot from_164[85];
    bitx_ort_status *(*constant_input)(const bitx_ort_kernel_info *info, size_t index,
                                       int *is_constant, const bitx_ort_value **value);
    bitx_ort_slot from_250[24];
    bitx_ort_status *(*parallel_for)(const bitx_ort_context *context,
                                     void (*task)(void *argument, size_t index), size_t count,
                                     size_t batches, void *argument);
} bitx_ort_api;

/* Places that are known from elsewhere than the sums of the gaps above. */
#define BITX_ORT_PLACE(name, place)                                                                \
    _Static_assert(offsetof(bitx_ort_api, name) == (place) * sizeof(bitx_ort_slot), #name)
BITX_ORT_PLACE(create_session, 8);
BITX_ORT_PLACE(create_domain, 26);
BITX_ORT_PLACE(create_tensor, 49);
BITX_ORT_PLACE(shape_of_value, 65);
BITX_ORT_PLACE(default_allocator, 78);
BITX_ORT_PLACE(context_output, 91);
BITX_ORT_PLACE(release_domain, 101);
BITX_ORT_PLACE(add_option, 130);
BITX_ORT_PLACE(attribute_ints, 163);
BITX_ORT_PLACE(constant_input, 249);
BITX_ORT_PLACE(parallel_for, 274);

typedef struct bitx_ort_base {
    const bitx_ort_api *(*api)(uint32_t version); /* null for a version that it does not know */
    const char *(*version)(void);
} bitx_ort_base;

/* An operator, as version 17 of the interface has it. */
struct bitx_ort_op {
    uint32_t version;
    bitx_ort_slot create_kernel_before_16;
    const char *(*name)(const bitx_ort_op *op);
    const char *(*provider)(const bitx_ort_op *op);
    bitx_ort_dtype (*input_type)(const bitx_ort_op *op, size_t index);
    size_t (*input_count)(const bitx_ort_op *op);
    bitx_ort_dtype (*output_type)(const bitx_ort_op *op, size_t index);
    size_t (*output_count)(const bitx_ort_op *op);
    bitx_ort_slot compute_before_16;
    void (*destroy)(void *kernel);
    int (*input_characteristic)(const bitx_ort_op *op, size_t index);
    int (*output_characteristic)(const bitx_ort_op *op, size_t index);
    int (*input_memory)(const bitx_ort_op *op, size_t index);
    int (*variadic_input_least)(const bitx_ort_op *op);
    int (*variadic_input_is_homogeneous)(const bitx_ort_op *op);
    int (*variadic_output_least)(const bitx_ort_op *op);
    int (*variadic_output_is_homogeneous)(const bitx_ort_op *op);
    bitx_ort_status *(*create)(const bitx_ort_op *op, const bitx_ort_api *api,
                               const bitx_ort_kernel_info *info, void **kernel);
    bitx_ort_status *(*compute)(void *kernel, bitx_ort_context *context);
    bitx_ort_slot infer_shapes;
    int (*first_version)(const bitx_ort_op *op); /* of the domain */
    int (*last_version)(const bitx_ort_op *op);
    bitx_ort_slot since_18[4];
};

#endif /* BITX_ORT_ABI_H */
