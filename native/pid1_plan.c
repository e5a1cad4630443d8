/* The steps of a plan, each a call or two: what rootless_builder/sandbox/plan.py says of it is done here. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fakeroot.h"
#include "pid1_plan.h"

#define SYS_CLOSE_RANGE 436 /* the same on every architecture, as all from 424 on */
#define SYS_LANDLOCK_CREATE_RULESET 444
#define SYS_LANDLOCK_RESTRICT_SELF 446
#define CLOSE_RANGE_ON_EXEC 4U
#define JOIN_SESSION_KEYRING 1
#define HIGH_FD 64 /* above what a command is given */
#define CAPABILITIES 64

/* The process that follows it. */
struct follower {
    int link, report;
    size_t count;
    int given[PID1_FDS_MAX]; /* the command's fds, and what comes after them */
    bool refused;            /* PID1_ENTER takes the user's own rights */
};

static const char *data_of(const struct pid1_step *step) { return (const char *)(step + 1); }

void pid1_close_from(int first, bool on_exec)
{
    struct rlimit limit;

    if (syscall(SYS_CLOSE_RANGE, (unsigned)first, ~0U, on_exec ? CLOSE_RANGE_ON_EXEC : 0U) == 0)
        return;
    getrlimit(RLIMIT_NOFILE, &limit); /* before Linux 5.11 */
    for (int fd = first; fd < (int)limit.rlim_cur; fd++)
        if (on_exec)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        else
            close(fd);
}

/* The text for `err` with its cause in place: its length, 0 where that is no failure, -1 where it does not fit. */
static ssize_t explain(const struct pid1_step *step, int err, char *said, size_t room)
{
    const char *at = data_of(step) + ((step->data + 7U) & ~7U), *end = at + step->failures, *cause = strerror(err);
    struct pid1_failure failure = {0, 0};
    size_t length = 0;

    for (; at < end; at += failure.length) {
        memcpy(&failure, at, sizeof failure);
        at += sizeof failure;
        if (failure.err == err || failure.err == 0)
            break;
    }
    for (size_t i = 0; at < end && i < failure.length; i++) {
        size_t more = at[i] == PID1_CAUSE ? strlen(cause) : 1;

        if (more > room - length)
            return -1;
        memcpy(said + length, at[i] == PID1_CAUSE ? cause : at + i, more);
        length += more;
    }
    return (ssize_t)length;
}

static void fail_unless_expected(const struct follower *self, const struct pid1_step *step, int err)
{
    char said[16384];
    ssize_t length = explain(step, err, said, sizeof said);

    if (length == 0)
        return;
    if (length > 0)
        send(self->report, said, (size_t)length, MSG_NOSIGNAL);
    _exit(1);
}

/* The first `count` fds given become 0, 1, 2, 3 …, and everything else close-on-exec, whoever opened it. */
static int place_fds(struct follower *self, int count)
{
    struct rlimit limit;
    int high = HIGH_FD;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < HIGH_FD)
        high = (int)limit.rlim_cur / 2;
    self->link = fcntl(self->link, F_DUPFD_CLOEXEC, high);
    self->report = fcntl(self->report, F_DUPFD_CLOEXEC, high);
    for (size_t i = 0; i < self->count; i++)
        self->given[i] = fcntl(self->given[i], F_DUPFD_CLOEXEC, high);
    for (int i = 0; i < count; i++)
        if (dup2(self->given[i], i) < 0)
            return -1;
    pid1_close_from(count, true);
    return self->link < 0 || self->report < 0 ? -1 : 0;
}

/* "(unreachable)", or ENOENT: entered through a leaked fd (CVE-2024-21626). */
static int is_inside(void)
{
    char path[PATH_MAX];

    return syscall(SYS_getcwd, path, sizeof path) < 0 || path[0] != '/' ? -1 : 0;
}

static int set_capabilities(uint64_t keep, bool bounded)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2];

    if (syscall(SYS_capget, &header, sets) < 0)
        return -1;
    for (int half = 0; half < 2; half++) {
        sets[half].effective &= bounded ? ~0U : (uint32_t)(keep >> (32 * half));
        sets[half].permitted &= bounded ? ~0U : (uint32_t)(keep >> (32 * half));
        sets[half].inheritable = 0;
    }
    return (int)syscall(SYS_capset, &header, sets);
}

/* `keep` alone stays in the bounding set: what exec can ever give again. Our own sets stay until then. */
static int bound(uint64_t keep)
{
    for (unsigned number = 0; number < CAPABILITIES; number++) {
        int present = prctl(PR_CAPBSET_READ, number);

        if (present < 0)
            break; /* beyond the kernel's last one */
        if (present && !(keep >> number & 1) && prctl(PR_CAPBSET_DROP, number) < 0)
            return -1;
    }
    if (set_capabilities(keep, true) < 0)
        return -1;
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

/* landlock(7), nothing but its scopes. Kernels before 6.12 have none. */
static void scope(uint64_t scoped)
{
    uint64_t rules[3] = {0, 0, scoped};
    long fd = syscall(SYS_LANDLOCK_CREATE_RULESET, rules, sizeof rules, 0);

    if (fd >= 0)
        syscall(SYS_LANDLOCK_RESTRICT_SELF, fd, 0);
}

static int load_filter(const struct pid1_step *step)
{
    struct sock_filter *code = (struct sock_filter *)(uintptr_t)data_of(step);
    struct sock_fprog program = {(unsigned short)(step->data / sizeof *code), code};

    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static int send_fd(int channel, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof fd)];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec part = {"1", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};

    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    return sendmsg(channel, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* The fakeroot filter: who serves it gets its listener. */
static int load_fakeroot_filter(const struct follower *self, const struct pid1_step *step)
{
    int listener = fr_install_filter((int)step->b), rc;

    if (listener < 0) {
        errno = -listener;
        return -1;
    }
    rc = send_fd(step->a < 0 ? self->link : self->given[step->a], listener);
    close(listener);
    return rc;
}

static void restore_signals(void)
{
    unsigned long action[4] = {0}; /* struct kernel_sigaction: libc would refuse to touch its own, 32 and 33 */
    sigset_t none;

    signal(SIGPIPE, SIG_DFL); /* ignored by Python */
    signal(SIGXFSZ, SIG_DFL);
    for (int number = 32; number <= 33; number++)
        syscall(SYS_rt_sigaction, number, action, NULL, 8);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void watch(const struct follower *self)
{
    struct pollfd p1 = {self->link, POLLIN, 0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&p1, 1, 0) > 0)
        _exit(1);
}

/* `count` strings from *at on, NULL after the last; the place after that. */
static char **take_strings(char **into, char **at, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        *into++ = *at;
        *at += strlen(*at) + 1;
    }
    *into++ = NULL;
    return into;
}

/* The first file of those named that can be executed: an errno, of the first that is there. */
static int try_each(char **paths, char **argv, char **env)
{
    int failed = PID1_NOTHING_FOUND;

    for (; *paths != NULL; paths++) {
        struct stat st;
        int err;

        execve(*paths, argv, env);
        err = errno;
        if ((err == ENOENT || err == ENOTDIR) && (stat(*paths, &st) < 0 || !S_ISREG(st.st_mode)))
            continue;
        if (failed == PID1_NOTHING_FOUND)
            failed = err;
    }
    return failed;
}

static int run(const struct pid1_step *step)
{
    uint32_t counts[3];
    char *at = (char *)(uintptr_t)data_of(step) + sizeof counts;
    char **paths, **argv, **env;
    int failed;

    memcpy(counts, data_of(step), sizeof counts);
    paths = calloc((size_t)counts[0] + counts[1] + counts[2] + 3, sizeof *paths);
    if (paths == NULL)
        return -1;
    argv = take_strings(paths, &at, counts[0]);
    env = take_strings(argv, &at, counts[1]);
    take_strings(env, &at, counts[2]);
    failed = try_each(paths, argv, env);
    free(paths);
    errno = failed;
    return -1;
}

static int enter(struct follower *self, const struct pid1_step *step)
{
    bool first = step->a == 0;

    if (!first && !self->refused)
        return 0;
    self->refused = chdir(data_of(step)) < 0;
    if (!self->refused)
        return 0;
    return first && errno == EACCES ? 0 : -1;
}

/* Of raw calls: libc's would look for the threads of P1. */
static int become(uid_t uid, gid_t gid)
{
    return syscall(SYS_setresgid, gid, gid, gid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0 ? -1 : 0;
}

/* 0, or -1 with errno. */
static int carry_out(struct follower *self, const struct pid1_step *step)
{
    switch ((enum pid1_op)step->op) {
    case PID1_SESSION:
        return getsid(0) != getpid() && setsid() < 0 ? -1 : 0;
    case PID1_TERMINAL:
        return ioctl(self->given[step->a], TIOCSCTTY, 0);
    case PID1_FDS:
        return place_fds(self, (int)step->a);
    case PID1_ENTER:
        return enter(self, step);
    case PID1_INSIDE:
        return self->refused ? 0 : is_inside();
    case PID1_LIMIT:
        return setrlimit((int)step->a, (const struct rlimit *)(const void *)data_of(step));
    case PID1_BOUND:
        return bound((uint64_t)step->a);
    case PID1_KEYRING:
        syscall(SYS_keyctl, JOIN_SESSION_KEYRING, NULL); /* a kernel may have none */
        return 0;
    case PID1_SCOPE:
        scope((uint64_t)step->a);
        return 0;
    case PID1_FILTER:
        return load_filter(step);
    case PID1_LISTENER:
        return load_fakeroot_filter(self, step);
    case PID1_OWNER:
        return chown(data_of(step), (uid_t)step->a, (gid_t)step->b);
    case PID1_GROUPS:
        return (int)syscall(SYS_setgroups, step->data / sizeof(gid_t), data_of(step));
    case PID1_USER:
        return become((uid_t)step->a, (gid_t)step->b);
    case PID1_REDUCE:
        return set_capabilities((uint64_t)step->a, false);
    case PID1_NO_NEW_PRIVILEGES:
        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    case PID1_SIGNALS:
        restore_signals();
        return 0;
    case PID1_UMASK:
        umask((mode_t)step->a);
        return 0;
    case PID1_WATCH:
        watch(self);
        return 0;
    case PID1_EXEC:
        return run(step);
    }
    errno = ENOSYS;
    return -1;
}

_Noreturn void pid1_follow(const struct pid1_fds *fds, int link)
{
    struct follower self = {.link = link, .report = fds->at[1], .count = fds->count - 2};
    struct stat st;
    const char *at, *end;

    if (fds->count < 2 || fstat(fds->at[0], &st) < 0)
        _exit(1);
    memcpy(self.given, fds->at + 2, self.count * sizeof self.given[0]);
    at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fds->at[0], 0);
    if (at == MAP_FAILED)
        _exit(1);
    for (end = at + st.st_size; at < end;) {
        const struct pid1_step *step = (const struct pid1_step *)(const void *)at;

        if (carry_out(&self, step) < 0)
            fail_unless_expected(&self, step, errno);
        at += step->size;
    }
    _exit(1);
}
