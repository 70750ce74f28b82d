/* model.S - the model as a constant, used where it lies.  BITX_MODEL_PATH: its path, in quotes. */
#ifndef BITX_MODEL_SECTION
#define BITX_MODEL_SECTION .rodata.bitx_model
#endif
    .section BITX_MODEL_SECTION, "a", %progbits
    .balign 64
    .global bitx_model_start
    .global bitx_model_end
    .type bitx_model_start, %object
bitx_model_start:
    .incbin BITX_MODEL_PATH
    .size bitx_model_start, . - bitx_model_start
bitx_model_end:
