/* talk_serial.c - talk.c beside runner.c, in one program. */
#define runner_run runner_talk
#include "talk.c"
