/* Pid 1: what P1 asks of it, and the reaping. See pid1.h; the plan's steps are in pid1_plan.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pid1_plan.h"

#define LINK 3 /* our end, once all else is closed */

/* A packet: its first byte and its fds. False at the end, when P1 is gone. */
static bool receive(int link, char *kind, struct pid1_fds *fds)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof fds->at)];
    } control;
    struct iovec part = {kind, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *head;
    ssize_t got;

    do
        got = recvmsg(link, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    head = CMSG_FIRSTHDR(&message);
    fds->count = 0;
    if (got == 1 && head != NULL && head->cmsg_type == SCM_RIGHTS) {
        fds->count = (head->cmsg_len - CMSG_LEN(0)) / sizeof fds->at[0];
        memcpy(fds->at, CMSG_DATA(head), fds->count * sizeof fds->at[0]);
    }
    return got == 1 && (message.msg_flags & MSG_CTRUNC) == 0;
}

/* Host's files in sight: a procfs is of the pid namespace of whoever mounts it. */
static void mount_proc(int link, int folder)
{
    char target[32];
    int32_t answer;

    snprintf(target, sizeof target, "/proc/self/fd/%d", folder);
    answer = mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ? errno : 0;
    close(folder);
    if (send(link, &answer, sizeof answer, MSG_NOSIGNAL) < 0)
        _exit(1);
}

/* What is passed on to the command: all but what the kernel alone means for us, or sends for a fault of ours. */
static void fill_awaited(sigset_t *awaited)
{
    static const int not_forwarded[] = {SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGSEGV,
                                        SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

    sigfillset(awaited);
    for (size_t i = 0; i < sizeof not_forwarded / sizeof not_forwarded[0]; i++)
        sigdelset(awaited, not_forwarded[i]);
}

/* Until the command has ended: its wait status. Orphans are reaped. */
static int reap(pid_t command, const sigset_t *awaited)
{
    for (;;) {
        int status, number;
        pid_t ended;

        while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
            if (ended == command)
                return status;
        number = sigwaitinfo(awaited, NULL);
        if (number > 0 && number != SIGCHLD)
            kill(command, number);
    }
}

/* Root inside with every capability there, so it shows its memory to nobody, and holds none of the step's output,
 * whose readers wait for its end. When we end, the kernel kills whoever is left. */
static _Noreturn void attend(pid_t command, const sigset_t *awaited)
{
    char told[32];

    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NAME, "iechor-init");
    pid1_close_from(LINK + 1, false);
    snprintf(told, sizeof told, "{\"status\": %d}", reap(command, awaited));
    _exit(send(LINK, told, strlen(told), MSG_NOSIGNAL) < 0);
}

static _Noreturn void begin(const struct pid1_fds *fds, bool reaper)
{
    sigset_t awaited;
    pid_t command;

    if (!reaper)
        pid1_follow(fds, LINK);
    fill_awaited(&awaited);
    sigprocmask(SIG_BLOCK, &awaited, NULL); /* from here on none is lost; the plan lets the command have them */
    command = fork();
    if (command == 0)
        pid1_follow(fds, LINK);
    if (command < 0)
        _exit(1);
    attend(command, &awaited);
}

_Noreturn void pid1_live(int link)
{
    struct pid1_fds fds;
    struct pollfd p1 = {LINK, POLLIN, 0};
    char kind;

    if (link != LINK && dup2(link, LINK) < 0)
        _exit(1);
    pid1_close_from(LINK + 1, false);
    pid1_close_from(LINK, true);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&p1, 1, 0) > 0 && (p1.revents & POLLHUP))
        _exit(1); /* P1 ended before that was said */
    while (receive(LINK, &kind, &fds) && fds.count > 0) {
        if (kind == 'c' || kind == 'i')
            begin(&fds, kind == 'i');
        mount_proc(LINK, fds.at[0]);
    }
    _exit(1);
}
