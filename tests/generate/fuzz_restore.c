/* fuzz_restore.c - bitx_generator_restore() under libFuzzer: no saved session does harm.
 *
 *     python -m tests.generate.fuzzing model model.bitx
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -std=c11 \
 *         $(find targets/runtime tests/text -name '*.h' -printf '-I%h\n' | sort -u) \
 *         -ffp-contract=off $(python -m tests.generate.fuzzing files) \
 *         tests/generate/fuzz_restore.c -o fuzz
 *     BITX_MODEL=model.bitx ./fuzz -max_len=8192 NEW tests/generate/corpus/restore
 *
 * The first byte of an input says what is mended before the rest is restored, so that what lies
 * behind hash and identity is reached too.  A session that is taken says the same when it is saved
 * and restored again, and can be continued; one that is refused leaves the session as it was, and
 * where BITX_TAKEN is set there may be none.
 * -DFUZZ_ALONE: fuzz_alone.h.
 */
#define _POSIX_C_SOURCE 200809L

#include "bitexport_generate.h"
#include "fuzz_alone.h"
#include "memory.h"
#include "sha256.h"

enum { MEND_HASH = 1, MEND_IDENTITY = 2, MEND_LENGTH = 4, CONTINUE = 8, SMALL = 16 };
enum { IDENTITY = 16, LENGTH = 56, HEADER = 64, MOST_BYTES = 1 << 16 };

static struct {
    bitx_model model;
    bitx_generator *generator[2]; /* of the whole context, and of little */
} global;

static void require(int holds)
{
    if (!holds) abort();
}

static void *allocate(size_t bytes)
{
    void *block = NULL;
    require(posix_memalign(&block, 64, bytes ? bytes : 1) == 0);
    return block;
}

static void open_model(void)
{
    const char *const path = getenv("BITX_MODEL");
    FILE *const file = path ? fopen(path, "rb") : NULL;
    require(file != NULL && fseek(file, 0, SEEK_END) == 0);
    const size_t bytes = (size_t)ftell(file);
    void *const blob = allocate(bytes);
    rewind(file);
    require(fread(blob, 1, bytes, file) == bytes && fclose(file) == 0);
    require(bitx_model_open(&global.model, blob, bytes) == BITX_OK);
    require(global.model.arithmetic.bytes == sizeof(uint32_t) + BITX_SHA256_BYTES);
}

static bitx_generator *open_generator(uint32_t context)
{
    bitx_config config = bitx_config_default();
    bitx_session *session;
    bitx_generator *generator;
    size_t bytes = 0;

    config.context_tokens = context;
    require(bitx_session_size(&bytes, &global.model, &config) == BITX_OK);
    void *const arena = allocate(bytes);
    require(bitx_session_open(&session, &global.model, &config, arena, bytes) == BITX_OK);
    require(bitx_generator_size(&bytes, &global.model, context) == BITX_OK);
    void *const memory = allocate(bytes);
    require(bitx_generator_open(&generator, session, memory, bytes) == BITX_OK);
    return generator;
}

static void digest(uint8_t *result, const uint8_t *bytes, size_t count)
{
    bitx_sha256 hash;
    bitx_sha256_begin(&hash);
    bitx_sha256_add(&hash, bytes, count);
    bitx_sha256_end(&hash, result);
}

static void mend(uint8_t *saved, size_t count, uint8_t what)
{
    if (count < HEADER + BITX_SHA256_BYTES) return;
    if (what & MEND_IDENTITY)
        bitx_copy(saved + IDENTITY, global.model.arithmetic.records + sizeof(uint32_t),
                  BITX_SHA256_BYTES);
    for (size_t i = 0; what & MEND_LENGTH && i < sizeof(uint64_t); i++)
        saved[LENGTH + i] = (uint8_t)((uint64_t)count >> 8 * i);
    if (what & MEND_HASH)
        digest(saved + count - BITX_SHA256_BYTES, saved, count - BITX_SHA256_BYTES);
}

/* Saves; returns how many bytes. */
static size_t save(const bitx_generator *generator, uint8_t *saved)
{
    const size_t count = bitx_generator_save_size(generator);
    require(count > 0 && count <= MOST_BYTES);
    require(bitx_generator_save(generator, saved, count) == BITX_OK);
    return count;
}

static void go_on(bitx_generator *generator)
{
    bitx_answer answer;
    bitx_event event = {.kind = BITX_EVENT_PREFILL};
    const int32_t token = 3;

    require(bitx_answer_default(&answer, &global.model) == BITX_OK);
    answer.most_tokens = 2;
    (void)bitx_generator_give(generator, &token, 1);
    if (bitx_generator_start(generator, &answer) != BITX_OK) return;
    for (int events = 0; event.kind != BITX_EVENT_END; events++) {
        require(events < 32);
        require(bitx_generator_next(generator, &event) == BITX_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint8_t before[MOST_BYTES], after[MOST_BYTES], again[MOST_BYTES];
    static const int32_t given[] = {1, 5, 7};

    if (!global.model.blob) {
        open_model();
        global.generator[0] = open_generator(0);
        global.generator[1] = open_generator(4);
    }
    if (bytes == 0) return 0;
    const uint8_t what = data[0];
    bitx_generator *const generator = global.generator[(what & SMALL) != 0];
    bitx_generator_reset(generator);
    require(bitx_generator_give(generator, given, 3) == BITX_OK);
    const size_t count = save(generator, before);

    /* Memory of its own: a byte read past its end is seen. */
    uint8_t *const saved = malloc(bytes - 1 ? bytes - 1 : 1);
    require(saved != NULL);
    bitx_copy(saved, data + 1, bytes - 1);
    mend(saved, bytes - 1, what);
    const bitx_status status = bitx_generator_restore(generator, saved, bytes - 1);
    free(saved);
    require(status == BITX_OK || !getenv("BITX_TAKEN"));

    const size_t left = save(generator, after);
    if (status != BITX_OK) {
        require(left == count && bitx_same(before, after, count));
        return 0;
    }
    require(left == bytes - 1);
    require(bitx_generator_restore(generator, after, left) == BITX_OK);
    require(save(generator, again) == left && bitx_same(after, again, left));
    if (what & CONTINUE) go_on(generator);
    return 0;
}
