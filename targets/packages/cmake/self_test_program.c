/* self_test_program.c - run the vectors in a .bitx file and say whether this machine, compiler and
 * build return the reference's bits.
 *
 *     self_test model.bitx
 *
 * The exit status is 0 when all are equal.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bitexport.h"

/* Returns a block aligned to 64 bytes, or null.  It is given back when the program ends. */
static void *allocate(size_t bytes)
{
    unsigned char *const block = malloc(bytes + 63);

    return block ? block + (64 - (uintptr_t)block % 64) % 64 : NULL;
}

static void *read_file(const char *path, size_t *bytes)
{
    FILE *const file = fopen(path, "rb");
    void *blob = NULL;
    long end = -1;

    if (!file) return NULL;
    if (fseek(file, 0, SEEK_END) == 0) end = ftell(file);
    if (end >= 0 && fseek(file, 0, SEEK_SET) == 0) blob = allocate((size_t)end);
    *bytes = end >= 0 ? (size_t)end : 0;
    if (blob && fread(blob, 1, *bytes, file) != *bytes) blob = NULL;
    (void)fclose(file);
    return blob;
}

static bitx_status test(const void *blob, size_t blob_bytes, uint32_t isa)
{
    bitx_config config = bitx_config_default();
    bitx_session *session = NULL;
    bitx_self_test_result result = {0, UINT32_MAX};
    bitx_model model;
    size_t arena_bytes = 0;
    void *arena;
    bitx_status status = bitx_model_open(&model, blob, blob_bytes);

    config.isa_mask = isa;
    if (status == BITX_OK) status = bitx_model_check_hashes(&model);
    if (status == BITX_OK) status = bitx_session_size(&arena_bytes, &model, &config);
    if (status != BITX_OK) return status;
    arena = allocate(arena_bytes);
    if (!arena) return BITX_E_ARENA;
    status = bitx_session_open(&session, &model, &config, arena, arena_bytes);
    if (status == BITX_OK) status = bitx_self_test(session, NULL, 0, &result);
    (void)printf("%s: %s, %u positions, arena %zu bytes\n", bitx_isa_name((bitx_isa)isa),
                 status == BITX_OK ? "equal" : bitx_status_name(status), result.position,
                 arena_bytes);
    return status;
}

int main(int count, char **words)
{
    const uint32_t available = bitx_isa_available();
    size_t blob_bytes = 0;
    const void *const blob = count == 2 ? read_file(words[1], &blob_bytes) : NULL;

    if (!blob) {
        (void)fprintf(stderr, "give a .bitx file that can be read\n");
        return 2;
    }
    for (uint32_t isa = 1; isa != 0; isa <<= 1) {
        if ((available & isa) == 0 || !bitx_isa_name((bitx_isa)isa)) continue;
        if (test(blob, blob_bytes, isa) != BITX_OK) return 1;
    }
    return 0;
}
