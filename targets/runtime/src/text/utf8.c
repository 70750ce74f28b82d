/* utf8.c - what is well-formed: Unicode, table 3-7. */
#include "utf8.h"

int bitx_utf8_length(const uint8_t *bytes, size_t count)
{
    const uint8_t lead = bytes[0];
    uint8_t least = 0x80, most = 0xBF; /* of the second byte */
    size_t length;

    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return -1;
    if (lead < 0xE0) {
        length = 2;
    } else if (lead < 0xF0) {
        length = 3;
        if (lead == 0xE0) least = 0xA0;
        if (lead == 0xED) most = 0x9F;
    } else {
        length = 4;
        if (lead == 0xF0) least = 0x90;
        if (lead == 0xF4) most = 0x8F;
    }
    for (size_t i = 1; i < length; i++) {
        if (i == count) return 0;
        if (bytes[i] < least || bytes[i] > most) return -(int)i;
        least = 0x80;
        most = 0xBF;
    }
    return (int)length;
}

size_t bitx_utf8_check(const uint8_t *bytes, size_t count)
{
    size_t at = 0;

    while (at < count) {
        uint64_t eight = 0;
        while (count - at >= sizeof eight) {
            bitx_copy(&eight, bytes + at, sizeof eight);
            if (eight & 0x8080808080808080u) break;
            at += sizeof eight;
        }
        if (at == count) break;
        const int length = bitx_utf8_length(bytes + at, count - at);
        if (length <= 0) return at;
        at += (size_t)length;
    }
    return at;
}
