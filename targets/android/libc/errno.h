/* errno.h - what the runtime uses of bionic's <errno.h>, with its numbers (Linux) and sizes. */
#ifndef BIONIC_ERRNO_H
#define BIONIC_ERRNO_H

#define EINTR  4
#define ENOMEM 12
#define EINVAL 22
#define EFBIG  27

int *__errno(void);
#define errno (*__errno())

#endif /* BIONIC_ERRNO_H */
