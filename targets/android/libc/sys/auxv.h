/* sys/auxv.h - what the runtime uses of bionic's <sys/auxv.h>, with its numbers (Linux) and sizes.
 */
#ifndef BIONIC_AUXV_H
#define BIONIC_AUXV_H

#define AT_HWCAP  16
#define AT_HWCAP2 26

unsigned long getauxval(unsigned long type);

#endif /* BIONIC_AUXV_H */
