/* jni_slice.h - the few functions of JNI that are called here, each at its place in JNI's table.
 *
 * The places are fixed by "The JNI Interface Function Table" of the JNI specification, chapter 4;
 * tests/exporter/package/android/test_jni.py compares them with a JDK's own header.
 */
#ifndef JNI_SLICE_H
#define JNI_SLICE_H

#include <stdint.h>

typedef int32_t jint, jsize;
typedef int64_t jlong;
typedef int8_t jbyte;
typedef void *jobject, *jclass, *jbyteArray, *jintArray;

typedef const struct jni_functions *JNIEnv;

struct jni_functions {
    void *before_171[171];
    jsize (*GetArrayLength)(JNIEnv *env, jobject array);
    void *before_176[4];
    jbyteArray (*NewByteArray)(JNIEnv *env, jsize length);
    void *before_179[2];
    jintArray (*NewIntArray)(JNIEnv *env, jsize length);
    void *before_200[20];
    void (*GetByteArrayRegion)(JNIEnv *env, jbyteArray array, jsize start, jsize count, jbyte *to);
    void *before_203[2];
    void (*GetIntArrayRegion)(JNIEnv *env, jintArray array, jsize start, jsize count, jint *to);
    void *before_208[4];
    void (*SetByteArrayRegion)(JNIEnv *env, jbyteArray array, jsize start, jsize count,
                               const jbyte *from);
    void *before_211[2];
    void (*SetIntArrayRegion)(JNIEnv *env, jintArray array, jsize start, jsize count,
                              const jint *from);
    void *before_230[18];
    void *(*GetDirectBufferAddress)(JNIEnv *env, jobject buffer);
    jlong (*GetDirectBufferCapacity)(JNIEnv *env, jobject buffer);
};

#define JNI_VERSION_1_6 0x00010006

/* A native method of class ai.bitexport.Native. */
#define NATIVE(type, name)                                                                         \
    __attribute__((visibility("default"))) type Java_ai_bitexport_Native_##name

#endif /* JNI_SLICE_H */
