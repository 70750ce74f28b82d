/* fcntl.h - what the runtime uses of bionic's <fcntl.h>, with its numbers (Linux) and sizes. */
#ifndef BIONIC_FCNTL_H
#define BIONIC_FCNTL_H

#define O_RDONLY  0
#define O_CLOEXEC 02000000

int open(const char *path, int flags, ...);

#endif /* BIONIC_FCNTL_H */
