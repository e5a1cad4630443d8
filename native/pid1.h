/* Pid 1 of a sandbox, forked by P1, which has Python: from here to the command's own program no Python runs, so that
 * nothing of P1's memory is written to, and copied for it.
 *
 *   P1 ──"p" + fd of a folder────────────────────────────▶ pid 1   mounts its /proc there ──i32: errno──▶ P1
 *      ──"c" or "i" + fds of plan, report, the command's──▶ pid 1   follows the plan ("i": in a child, and reaps)
 *
 * A plan is a file of steps, one after the other, in the order in which they are done; rootless_builder/sandbox/plan.py
 * writes it and says what each step means. A step that fails says so on the report socket in the plan's own words.
 */
#ifndef IECHOR_PID1_H
#define IECHOR_PID1_H

#include <stdint.h>

enum pid1_op {
    PID1_SESSION = 1, PID1_TERMINAL, PID1_FDS, PID1_ENTER, PID1_INSIDE, PID1_LIMIT, PID1_BOUND, PID1_KEYRING,
    PID1_SCOPE, PID1_FILTER, PID1_LISTENER, PID1_OWNER, PID1_GROUPS, PID1_USER, PID1_REDUCE, PID1_NO_NEW_PRIVILEGES,
    PID1_SIGNALS, PID1_UMASK, PID1_WATCH, PID1_EXEC
};

/* A step's head. After it its data, and at the next multiple of 8 its failures: pid1_failure, each with its text. */
struct pid1_step {
    uint32_t op, size; /* bytes of all of it, a multiple of 8 */
    int64_t a, b;
    uint32_t data, failures; /* bytes of each */
};

/* What is said of an errno (0: of any). PID1_CAUSE in the text stands for strerror. A text of length 0: no failure. */
struct pid1_failure {
    int32_t err;
    uint32_t length;
};
#define PID1_CAUSE '\x01'
#define PID1_NOTHING_FOUND (-1) /* err, where no file of the command's name is in its PATH */

/* The life of pid 1: link is its end of a SOCK_SEQPACKET pair, and all that it keeps open but 0, 1, 2. */
_Noreturn void pid1_live(int link);

#endif
