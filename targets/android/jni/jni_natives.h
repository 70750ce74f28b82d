/* jni_natives.h - the native methods of class ai.bitexport.Native.
 *
 * Nothing here calls back into Java or throws; Java asks for the next event.  A status is a
 * bitx_status; `out` is an array that Java made, long enough.  Handles are pointers: who passes a
 * closed one is not warned, class Native's callers see to it.
 */
#ifndef JNI_NATIVES_H
#define JNI_NATIVES_H

#include "jni_slice.h"

__attribute__((visibility("default"))) jint JNI_OnLoad(void *vm, void *reserved);

/* out: status, rule, record of the model; errno.  Returns 0 where it is not opened. */
NATIVE(jlong, openModel)
(JNIEnv *env, jclass class, jbyteArray path, jint file, jintArray out);

NATIVE(void, closeModel)(JNIEnv *env, jclass class, jlong handle);

/* Reads the whole file.  out: rule and record. */
NATIVE(jint, checkModel)(JNIEnv *env, jclass class, jlong handle, jintArray out);

/* out: vocabulary, context, whether there is a tokenizer, a chat template, a self-test. */
NATIVE(void, facts)(JNIEnv *env, jclass class, jlong handle, jintArray out);

NATIVE(jbyteArray, name)(JNIEnv *env, jclass class, jlong handle);

NATIVE(jbyteArray, statusName)(JNIEnv *env, jclass class, jint status);

/* The bits of bitx_isa that this core has and there are kernels for; the name of one. */
NATIVE(jint, instructionSets)(JNIEnv *env, jclass class);

NATIVE(jbyteArray, instructionSetName)(JNIEnv *env, jclass class, jint bit);

/* out: status; of ill-formed text, the byte where that begins. */
NATIVE(jintArray, encode)
(JNIEnv *env, jclass class, jlong handle, jbyteArray utf8, jint flags, jintArray out);

/* What the plan calls an op output; empty where there is none of that index. */
NATIVE(jbyteArray, opOutputName)(JNIEnv *env, jclass class, jlong handle, jint op_output);

/* out: the position, and the op output, that differ first. */
NATIVE(jint, selfTest)(JNIEnv *env, jclass class, jlong handle, jint threads, jintArray out);

NATIVE(jlong, openSession)
(JNIEnv *env, jclass class, jlong model, jint context, jint chunk, jint threads, jint draft,
 jintArray out);

NATIVE(void, closeSession)(JNIEnv *env, jclass class, jlong handle);

NATIVE(void, reset)(JNIEnv *env, jclass class, jlong handle);

NATIVE(void, cancel)(JNIEnv *env, jclass class, jlong handle);

NATIVE(jintArray, tokens)(JNIEnv *env, jclass class, jlong handle);

NATIVE(jint, giveTokens)(JNIEnv *env, jclass class, jlong handle, jintArray tokens);

/* out: where a text is ill-formed. */
NATIVE(jint, giveText)
(JNIEnv *env, jclass class, jlong handle, jbyteArray utf8, jint flags, jintArray out);

/* roles_and_bytes: of each message its role, and how many of the contents are its own.
 * out: which message is refused. */
NATIVE(jint, giveChat)
(JNIEnv *env, jclass class, jlong handle, jintArray roles_and_bytes, jbyteArray contents,
 jint after, jintArray out);

NATIVE(jint, start)
(JNIEnv *env, jclass class, jlong handle, jintArray numbers_of, jintArray stop_tokens,
 jintArray stop_sizes, jbyteArray stop_bytes);

/* out: kind, end, status, done, total, token, bytes of text.  text: BITX_STREAM_BYTES of room. */
NATIVE(jint, next)(JNIEnv *env, jclass class, jlong handle, jintArray out, jbyteArray text);

NATIVE(jlong, saveSize)(JNIEnv *env, jclass class, jlong handle);

NATIVE(jint, save)(JNIEnv *env, jclass class, jlong handle, jobject buffer);

NATIVE(jint, restore)(JNIEnv *env, jclass class, jlong handle, jobject buffer);

#endif /* JNI_NATIVES_H */
