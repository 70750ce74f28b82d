/* libc_stub.S - the names of bionic's libc.so that the runtime uses: enough to link against it. */
.macro stub name
    .globl \name
    .type \name, %function
\name:
.endm

.text
stub __errno
stub clock_gettime
stub close
stub fstat
stub getauxval
stub memcmp
stub memcpy
stub memmove
stub memset
stub mmap
stub munmap
stub open
stub pthread_create
stub pthread_join
stub sem_destroy
stub sem_init
stub sem_post
stub sem_wait
    .byte 0
.section .note.GNU-stack, "", %progbits
