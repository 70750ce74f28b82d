/* jni_model.c - the native methods of ai.bitexport.Native that take a model. */
#include "jni_objects.h"

#include <errno.h>

jint JNI_OnLoad(void *vm, void *reserved)
{
    (void)vm, (void)reserved;
    return JNI_VERSION_1_6;
}

static open_model *model_at(jlong handle)
{
    return (open_model *)(uintptr_t)handle;
}

static int map_file(JNIEnv *env, bitx_map *map, jbyteArray path, jint file)
{
    if (!path) return bitx_map_descriptor(map, file);
    pages scratch;
    size_t count;
    const char *text = bytes_of(env, path, &scratch, &count);
    if (!text) return ENOMEM;
    const int failure = bitx_map_open(map, text);
    pages_return(&scratch);
    return failure;
}

NATIVE(jlong, openModel)
(JNIEnv *env, jclass class, jbyteArray path, jint file, jintArray out)
{
    (void)class;
    bitx_map map;
    bitx_model model = {0};
    const int failure = map_file(env, &map, path, file);
    bitx_status status = failure ? BITX_E_ARGUMENT : bitx_model_open(&model, map.blob, map.bytes);
    pages own = {0};
    if (status == BITX_OK) {
        own = pages_get(sizeof(open_model));
        if (!own.memory) status = BITX_E_ROOM;
    }
    const jint said[4] = {status, (jint)model.rule, (jint)model.record, failure};
    (*env)->SetIntArrayRegion(env, out, 0, 4, said);
    if (status != BITX_OK) {
        if (!failure) bitx_map_close(&map);
        return 0;
    }
    open_model *opened = pages_take(&own, sizeof *opened);
    *opened = (open_model){own, map, model};
    return (jlong)(uintptr_t)opened;
}

NATIVE(void, closeModel)(JNIEnv *env, jclass class, jlong handle)
{
    (void)env, (void)class;
    open_model *opened = model_at(handle);
    bitx_map_close(&opened->map);
    pages_return(&opened->own);
}

NATIVE(jint, checkModel)(JNIEnv *env, jclass class, jlong handle, jintArray out)
{
    (void)class;
    bitx_model model = model_at(handle)->model; /* others may read the one that is open */
    bitx_status status = bitx_model_check_hashes(&model);
    if (status == BITX_OK && model.tokenizer.records) status = bitx_model_check_text(&model);
    const jint said[2] = {(jint)model.rule, (jint)model.record};
    (*env)->SetIntArrayRegion(env, out, 0, 2, said);
    return status;
}

NATIVE(void, facts)(JNIEnv *env, jclass class, jlong handle, jintArray out)
{
    (void)class;
    const bitx_model *model = &model_at(handle)->model;
    const bitx_facts facts = bitx_model_facts(model);
    const jint said[5] = {(jint)facts.vocabulary, (jint)facts.context,
                          model->tokenizer.records != 0, model->chat.records != 0,
                          model->self_test.records != 0};
    (*env)->SetIntArrayRegion(env, out, 0, 5, said);
}

static jbyteArray java_bytes(JNIEnv *env, const char *text)
{
    jsize count = 0;
    while (text[count])
        count++;
    jbyteArray array = (*env)->NewByteArray(env, count);
    if (array) (*env)->SetByteArrayRegion(env, array, 0, count, (const jbyte *)text);
    return array;
}

NATIVE(jbyteArray, name)(JNIEnv *env, jclass class, jlong handle)
{
    (void)class;
    return java_bytes(env, bitx_model_facts(&model_at(handle)->model).name);
}

NATIVE(jbyteArray, statusName)(JNIEnv *env, jclass class, jint status)
{
    (void)class;
    return java_bytes(env, bitx_status_name((bitx_status)status));
}

NATIVE(jint, instructionSets)(JNIEnv *env, jclass class)
{
    (void)env, (void)class;
    return (jint)bitx_isa_available();
}

NATIVE(jbyteArray, instructionSetName)(JNIEnv *env, jclass class, jint bit)
{
    (void)class;
    const char *name = bitx_isa_name((bitx_isa)bit);
    return java_bytes(env, name ? name : "");
}

NATIVE(jintArray, encode)
(JNIEnv *env, jclass class, jlong handle, jbyteArray utf8, jint flags, jintArray out)
{
    (void)class;
    pages bytes, scratch = {0};
    size_t count = 0;
    int32_t *tokens;
    jintArray made = NULL;
    bitx_status status = BITX_E_ROOM;
    bitx_text text = {0};
    text.bytes = bytes_of(env, utf8, &bytes, &text.count);
    if (text.bytes)
        status = encode_text(&scratch, &tokens, &count, &model_at(handle)->model, &text,
                             (uint32_t)flags);
    const jint said[2] = {status, (jint)count};
    (*env)->SetIntArrayRegion(env, out, 0, 2, said);
    if (status == BITX_OK) made = (*env)->NewIntArray(env, (jsize)count);
    if (made) (*env)->SetIntArrayRegion(env, made, 0, (jsize)count, tokens);
    pages_return(&scratch);
    pages_return(&bytes);
    return made;
}

typedef struct sought {
    uint32_t op_output;
    const char *name;
} sought;

static void find_name(void *context, const bitx_trace_event *event)
{
    sought *s = context;
    if (event->op_output == s->op_output) s->name = event->value;
}

NATIVE(jbyteArray, opOutputName)(JNIEnv *env, jclass class, jlong handle, jint op_output)
{
    (void)class;
    sought s = {(uint32_t)op_output, ""};
    bitx_config config = bitx_config_default();
    config.context_tokens = config.chunk_rows = 1;
    config.trace = find_name;
    config.trace_context = &s;
    bitx_status status;
    open_session *traced = open_session_new(model_at(handle), &config, 1, &status);
    if (traced) {
        (void)bitx_step(traced->session, 0, NULL); /* what it computes is of no interest */
        open_session_free(traced);
    }
    return java_bytes(env, s.name);
}

NATIVE(jint, selfTest)(JNIEnv *env, jclass class, jlong handle, jint threads, jintArray out)
{
    (void)class;
    const open_model *of = model_at(handle);
    bitx_self_test_result result = {0, UINT32_MAX};
    bitx_config config = bitx_config_default();
    config.chunk_rows = DEFAULT_CHUNK_ROWS;
    config.keep_all_rows = config.unfused = 1;
    bitx_status status = BITX_OK;
    open_session *s = open_session_new(of, &config, (unsigned)threads, &status);
    if (!s) return status;

    const size_t room = 32 * (size_t)of->model.values.count; /* no op output without a value */
    pages chains = pages_get(room + 1);
    status = BITX_E_ROOM;
    if (chains.memory) status = bitx_self_test(s->session, chains.memory, room, &result);
    pages_return(&chains);
    open_session_free(s);
    const jint said[2] = {(jint)result.position, (jint)result.op_output};
    (*env)->SetIntArrayRegion(env, out, 0, 2, said);
    return status;
}
