/* bitexport_text.h - text to tokens, tokens to text, conversations to text.
 *
 * What is done, to the byte: runtime_ref/TEXT.md.  The tables lie in the model's file and are
 * walked in place; work memory is the caller's, and only long texts need much of it.  A file
 * without the section that a function reads is BITX_E_ARGUMENT.  Of a damaged one nothing outside
 * is read: it is BITX_E_FORMAT, or gives tokens of no use; bitx_model_check_text() tells.
 */
#ifndef BITEXPORT_TEXT_H
#define BITEXPORT_TEXT_H

#include "bitexport.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Checks what the sections of text hold (FORMAT.md, rules 26 to 28), in some milliseconds, for a
 * file that is new here: beside bitx_model_check_hashes(). */
bitx_status bitx_model_check_text(bitx_model *model);

/* Bytes from start up to end. */
typedef struct bitx_range {
    size_t start, end;
} bitx_range;

/* ---- Text to tokens ------------------------------------------------------------------------ */

/* UTF-8.  plain: increasing ranges in which a special token is text like any other: what a user
 * wrote. */
typedef struct bitx_text {
    const char *bytes;
    size_t count;
    const bitx_range *plain;
    size_t plain_count;
} bitx_text;

enum {
    BITX_ENCODE_BARE = 1, /* no prefix and suffix tokens */
    BITX_ENCODE_PLAIN = 2 /* special tokens are text everywhere */
};

/* Says how many tokens a text of so many bytes becomes at most, and how much work memory that
 * takes.  The work size is exact: one byte less is BITX_E_ROOM. */
bitx_status bitx_encode_room(size_t *tokens, size_t *work_bytes, const bitx_model *model,
                             size_t text_bytes);

/* Turns a text into tokens.  work: aligned to 4.  Where there is room for fewer tokens than there
 * are, BITX_E_ROOM: the first are written, *count is how many there are (0: the work memory is too
 * small).  Of ill-formed UTF-8, BITX_E_TEXT: *count is the byte at which it begins. */
bitx_status bitx_encode(int32_t *tokens, size_t room, size_t *count, const bitx_model *model,
                        const bitx_text *text, uint32_t flags, void *work, size_t work_bytes);

/* ---- Tokens to text ------------------------------------------------------------------------ */

enum {
    BITX_STOP_BYTES = 128,    /* a stop string has at most so many */
    BITX_STREAM_BYTES = 1024, /* what a stream holds: one token's text, and text held back */
};

typedef struct bitx_string_view {
    const char *bytes;
    size_t count;
} bitx_string_view;

/* All zero is what most want. */
typedef struct bitx_stream_config {
    const bitx_string_view *stops; /* strings that end the text; they must outlive the stream */
    size_t stop_count;
    uint32_t show_control; /* control tokens are text too */
    uint32_t continues;    /* the text goes on behind another: it does not lose its first space */
} bitx_stream_config;

/* Text on its way out.  Copy it freely; text that was handed out lies in the copy it came from. */
typedef struct bitx_stream {
    const bitx_model *model;
    bitx_stream_config config;
    uint32_t vocabulary;
    uint32_t ended, drops_space;
    uint32_t rest_count;  /* bytes of a character that is not complete */
    uint32_t given, held; /* of text: handed out by the last call; held back behind it */
    uint8_t rest[4];
    char text[BITX_STREAM_BYTES];
} bitx_stream;

/* Begins a text.  config: null is all zero.  A stop string that is empty, too long or no UTF-8:
 * BITX_E_ARGUMENT. */
bitx_status bitx_stream_open(bitx_stream *stream, const bitx_model *model,
                             const bitx_stream_config *config);

/* Takes one token.  *text, until the next call: what has become certain, complete characters
 * only, often none.  *stopped: a stop string came, the text before it was the last.  After that,
 * BITX_E_ARGUMENT.  BITX_E_ROOM: the token has more text than a stream holds; nothing changed. */
bitx_status bitx_stream_push(bitx_stream *stream, int32_t token, const char **text, size_t *bytes,
                             int *stopped);

/* Ends the text: *text is what was held back. */
bitx_status bitx_stream_finish(bitx_stream *stream, const char **text, size_t *bytes);

/* ---- Conversations to text ----------------------------------------------------------------- */

typedef enum bitx_role {
    BITX_ROLE_SYSTEM = 0,
    BITX_ROLE_USER = 1,
    BITX_ROLE_ASSISTANT = 2,
    BITX_ROLE_START = 3 /* in `after`: no message came before */
} bitx_role;

typedef struct bitx_message {
    bitx_role role;
    const char *content;
    size_t bytes;
} bitx_message;

/* What the file says about conversations. */
typedef struct bitx_chat {
    uint32_t encode_flags; /* for bitx_encode() of a conversation from its start; one that goes on
                            * is always BITX_ENCODE_BARE */
    uint32_t stop_count;   /* tokens that end an answer, besides those in bitx_facts */
    int32_t stops[8];
} bitx_chat;

bitx_status bitx_chat_of_model(bitx_chat *chat, const bitx_model *model);

/* Joins messages as the model was trained to read them, and says which ranges are contents (as
 * many as messages at most).  after: the role of the message before the first one here, so that a
 * conversation goes on with its new messages alone.  generate: an answer is to follow.
 *
 * Where room or plain_room is too small, BITX_E_ROOM: *bytes and *plain_count are what is needed
 * (with both 0: a question that costs no memory).  A content that is no UTF-8 is BITX_E_TEXT, a
 * row of roles without form BITX_E_ROLE; *bytes is then the number of that message (count: the
 * end). */
bitx_status bitx_chat_text(char *text, size_t room, size_t *bytes, bitx_range *plain,
                           size_t plain_room, size_t *plain_count, const bitx_model *model,
                           const bitx_message *messages, size_t count, bitx_role after,
                           int generate);

#ifdef __cplusplus
}
#endif
#endif /* BITEXPORT_TEXT_H */
