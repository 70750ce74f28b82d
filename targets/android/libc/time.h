/* time.h - what the runtime uses of bionic's <time.h>, with its numbers (Linux) and sizes. */
#ifndef BIONIC_TIME_H
#define BIONIC_TIME_H

#define CLOCK_MONOTONIC 1

struct timespec {
    long tv_sec, tv_nsec;
};

int clock_gettime(int clock, struct timespec *now);

#endif /* BIONIC_TIME_H */
