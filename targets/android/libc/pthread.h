/* pthread.h - what the runtime uses of bionic's <pthread.h>, with its numbers (Linux) and sizes. */
#ifndef BIONIC_PTHREAD_H
#define BIONIC_PTHREAD_H

typedef long pthread_t;

int pthread_create(pthread_t *thread, const void *attributes, void *(*start)(void *),
                   void *argument);
int pthread_join(pthread_t thread, void **result);

#endif /* BIONIC_PTHREAD_H */
