/* status.c - the names of the codes in bitexport.h. */
#include "bitexport.h"

/* In the order of the codes: 0, -1, -2, and so on.  One string: a table of pointers is larger. */
static const char names[] = "ok\0"
                            "bad argument\0"
                            "not a .bitx file\0"
                            "file too new\0"
                            "file of a wrong length\0"
                            "file damaged\0"
                            "file not as its hash\0"
                            "file not supported\0"
                            "arena too small\0"
                            "context full\0"
                            "token outside the vocabulary\0"
                            "not a finite number\0"
                            "floats are not IEEE-754 here\0"
                            "kernel differs from its definition\0"
                            "input or output missing\0"
                            "self-test computed other bits\0"
                            "text is not UTF-8\0"
                            "roles without form\0"
                            "no token is left\0"
                            "session of another model\0"
                            "buffer too small\0";

const char *bitx_status_name(bitx_status status)
{
    const char *name = names, *const end = names + sizeof names - 1;
    for (int code = (int)status; code != 0 && name != end; code++) {
        if (code > 0) return "unknown status";
        while (*name++)
            ;
    }
    return name == end ? "unknown status" : name;
}
