/* unistd.h - what the runtime uses of bionic's <unistd.h>, with its numbers (Linux) and sizes. */
#ifndef BIONIC_UNISTD_H
#define BIONIC_UNISTD_H

int close(int file);

#endif /* BIONIC_UNISTD_H */
