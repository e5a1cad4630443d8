/* How a process follows a plan, to the exec of the command. */
#ifndef IECHOR_PID1_PLAN_H
#define IECHOR_PID1_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "pid1.h"

#define PID1_FDS_MAX 200 /* the kernel's SCM_MAX_FD is 253 */

struct pid1_fds {
    size_t count;
    int at[PID1_FDS_MAX]; /* plan, report, then those of the command, and one more for PID1_LISTENER */
};

/* All fds from `first`: closed, or marked close-on-exec. */
void pid1_close_from(int first, bool on_exec);

/* Becomes the command. link: tells the end of P1. */
_Noreturn void pid1_follow(const struct pid1_fds *fds, int link);

#endif
