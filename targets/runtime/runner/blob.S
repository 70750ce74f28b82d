/* blob.S - the model, linked into the program.  BITX_BLOB_PATH: its path, in quotes.  The linker
 * script says where it lies and names its ends. */
    .section .blob, "a", %progbits
    .balign 64
    .incbin BITX_BLOB_PATH
