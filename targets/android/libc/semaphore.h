/* semaphore.h - what the runtime uses of bionic's <semaphore.h>, with its numbers (Linux) and
 * sizes. */
#ifndef BIONIC_SEMAPHORE_H
#define BIONIC_SEMAPHORE_H

/* Bionic takes 4 bytes, or 16 where pointers have 8; glibc, where tests run, as many as these. */
typedef struct sem_t {
    long private[4];
} sem_t;

int sem_init(sem_t *semaphore, int shared, unsigned value);
int sem_destroy(sem_t *semaphore);
int sem_post(sem_t *semaphore);
int sem_wait(sem_t *semaphore);

#endif /* BIONIC_SEMAPHORE_H */
