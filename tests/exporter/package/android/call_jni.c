/* call_jni.c - what Java's virtual machine does, without one: a table of functions, and calls.
 *
 *     call_jni MODEL.bitx TEXT TOKENS
 *
 * Loads nothing itself: it is linked with libbitexport.so, which finds its libc.so beside it.
 */
#include "jni_natives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An array of Java, whose elements are bytes or ints. */
typedef struct array {
    jsize length;
    jint numbers[2048];
} array;

static jsize array_length(JNIEnv *env, jobject object)
{
    (void)env;
    return ((array *)object)->length;
}

static jobject new_array(JNIEnv *env, jsize length)
{
    (void)env;
    array *made = calloc(1, sizeof *made);
    made->length = length;
    return made;
}

static void check_range(const array *from, jsize start, jsize count, size_t size)
{
    if (start >= 0 && count >= 0 && start + count <= from->length &&
        (size_t)from->length * size <= sizeof from->numbers)
        return;
    fprintf(stderr, "a region outside of its array\n");
    exit(3);
}

static void get_bytes(JNIEnv *env, jbyteArray object, jsize start, jsize count, jbyte *to)
{
    (void)env;
    check_range(object, start, count, 1);
    memcpy(to, (jbyte *)((array *)object)->numbers + start, (size_t)count);
}

static void set_bytes(JNIEnv *env, jbyteArray object, jsize start, jsize count, const jbyte *from)
{
    (void)env;
    check_range(object, start, count, 1);
    memcpy((jbyte *)((array *)object)->numbers + start, from, (size_t)count);
}

static void get_ints(JNIEnv *env, jintArray object, jsize start, jsize count, jint *to)
{
    (void)env;
    check_range(object, start, count, sizeof *to);
    memcpy(to, ((array *)object)->numbers + start, (size_t)count * sizeof *to);
}

static void set_ints(JNIEnv *env, jintArray object, jsize start, jsize count, const jint *from)
{
    (void)env;
    check_range(object, start, count, sizeof *from);
    memcpy(((array *)object)->numbers + start, from, (size_t)count * sizeof *from);
}

static array array_of(const char *text, jsize length)
{
    array made = {.length = length};
    memcpy(made.numbers, text, (size_t)length);
    return made;
}

static jint require(const char *what, jint status)
{
    if (status == 0) return 0;
    fprintf(stderr, "%s: status %d\n", what, (int)status);
    exit(2);
}

static void say_answer(JNIEnv *env, jlong session, jint most)
{
    /* As ai.bitexport.Options has them: temperature 0, and `most` tokens. */
    array numbers = {.length = 19, .numbers = {[0] = 1, [11] = most, [13] = -1, [16] = 1}};
    array none = {0}, event = {.length = 7}, text = {.length = 1024};
    require("start",
            Java_ai_bitexport_Native_start(env, NULL, session, &numbers, &none, &none, &none));
    do {
        require("next", Java_ai_bitexport_Native_next(env, NULL, session, &event, &text));
        printf("%.*s", (int)event.numbers[6], (const char *)text.numbers);
    } while (event.numbers[0] != 3);
    printf("\n");
}

int main(int count, char **words)
{
    if (count != 4) return 64;
    static const struct jni_functions table = {
        .GetArrayLength = array_length,
        .NewByteArray = new_array,
        .NewIntArray = new_array,
        .GetByteArrayRegion = get_bytes,
        .GetIntArrayRegion = get_ints,
        .SetByteArrayRegion = set_bytes,
        .SetIntArrayRegion = set_ints,
    };
    JNIEnv functions = &table, *env = &functions;
    array path = array_of(words[1], (jsize)strlen(words[1]) + 1);
    array text = array_of(words[2], (jsize)strlen(words[2]));
    array out = {.length = 4};

    if (JNI_OnLoad(NULL, NULL) != JNI_VERSION_1_6) return 1;
    const jlong model = Java_ai_bitexport_Native_openModel(env, NULL, &path, -1, &out);
    require("open", out.numbers[0]);
    require("check", Java_ai_bitexport_Native_checkModel(env, NULL, model, &out));
    require("self-test", Java_ai_bitexport_Native_selfTest(env, NULL, model, 2, &out));
    printf("%d positions\n", (int)out.numbers[0]);

    const jlong session =
        Java_ai_bitexport_Native_openSession(env, NULL, model, 64, 16, 2, 0, &out);
    require("session", out.numbers[0]);
    require("text", Java_ai_bitexport_Native_giveText(env, NULL, session, &text, 0, &out));
    say_answer(env, session, (jint)strtol(words[3], NULL, 10));
    const array *tokens = Java_ai_bitexport_Native_tokens(env, NULL, session);
    for (jsize i = 0; i < tokens->length; i++)
        printf("%s%d", i ? ", " : "[", (int)tokens->numbers[i]);
    printf("]\n");
    Java_ai_bitexport_Native_closeSession(env, NULL, session);
    Java_ai_bitexport_Native_closeModel(env, NULL, model);
    return 0;
}
