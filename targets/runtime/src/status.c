/* status.c - the names of the codes in bitexport.h. */
#include "bitexport.h"

const char *bitx_status_name(bitx_status status)
{
    switch (status) {
    case BITX_OK:            return "ok";
    case BITX_E_ARGUMENT:    return "bad argument";
    case BITX_E_MAGIC:       return "not a .bitx file";
    case BITX_E_VERSION:     return "file newer than this runtime";
    case BITX_E_TRUNCATED:   return "file cut short or too long";
    case BITX_E_FORMAT:      return "file damaged";
    case BITX_E_HASH:        return "file differs from its hash";
    case BITX_E_UNSUPPORTED: return "file needs what this runtime lacks";
    case BITX_E_ARENA:       return "arena too small";
    case BITX_E_FULL:        return "context full";
    case BITX_E_TOKEN:       return "token outside the vocabulary";
    case BITX_E_NOT_FINITE:  return "not a finite number";
    case BITX_E_FLOATS:      return "floats are not IEEE-754 here";
    case BITX_E_KERNEL:      return "fast kernel disagrees with its definition";
    case BITX_E_NAME:        return "no such input or output, or one is missing";
    case BITX_E_SELF_TEST:   return "self-test computed other bits";
    case BITX_E_TEXT:        return "text is not UTF-8";
    case BITX_E_ROLE:        return "no form in the chat template for these roles";
    case BITX_E_MASK:        return "no token is left to choose";
    case BITX_E_MODEL:       return "saved session of another model";
    case BITX_E_ROOM:        return "buffer too small";
    case BITX_E_CANCELLED:   return "cancelled";
    }
    return "unknown status";
}
