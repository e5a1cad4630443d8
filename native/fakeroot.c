/* The supervisor's loop: take a notification, ask its handler, answer. See fakeroot.h for the place it must stand in. */
#define _GNU_SOURCE
#include "fakeroot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fr_super.h"

#define OVERLAY_MAGIC 0x794c7630

typedef long handler(struct fr_call *call);

static handler *const HANDLERS[OP_COUNT] = {
    [OP_STAT] = fr_do_stat, [OP_LSTAT] = fr_do_stat, [OP_FSTAT] = fr_do_stat, [OP_FSTATAT] = fr_do_stat,
    [OP_STATX] = fr_do_statx,
    [OP_CHOWN] = fr_do_chown, [OP_LCHOWN] = fr_do_chown, [OP_FCHOWN] = fr_do_chown, [OP_FCHOWNAT] = fr_do_chown,
    [OP_CHMOD] = fr_do_chmod, [OP_FCHMOD] = fr_do_chmod, [OP_FCHMODAT] = fr_do_chmod, [OP_FCHMODAT2] = fr_do_chmod,
    [OP_MKNOD] = fr_do_mknod, [OP_MKNODAT] = fr_do_mknod, [OP_MKDIR] = fr_do_mkdir, [OP_MKDIRAT] = fr_do_mkdir,
    [OP_SYMLINK] = fr_do_symlink, [OP_SYMLINKAT] = fr_do_symlink, [OP_LINK] = fr_do_link, [OP_LINKAT] = fr_do_link,
    [OP_OPEN] = fr_do_open, [OP_OPENAT] = fr_do_open, [OP_OPENAT2] = fr_do_open, [OP_CREAT] = fr_do_open,
    [OP_UTIME] = fr_do_utimes, [OP_UTIMES] = fr_do_utimes, [OP_FUTIMESAT] = fr_do_utimes,
    [OP_UTIMENSAT] = fr_do_utimes, [OP_FILE_SETATTR] = fr_do_utimes, [OP_SET_FLAGS] = fr_do_utimes,
    [OP_TRUNCATE] = fr_do_truncate, [OP_BIND] = fr_do_bind, [OP_SOCKETCALL] = fr_do_socketcall,
    [OP_UNLINK] = fr_do_unlink, [OP_UNLINKAT] = fr_do_unlink, [OP_RMDIR] = fr_do_unlink,
    [OP_RENAME] = fr_do_rename, [OP_RENAMEAT] = fr_do_rename, [OP_RENAMEAT2] = fr_do_rename,
    [OP_UNMOUNT] = fr_do_unmount,
    [OP_ACCESS] = fr_do_access, [OP_FACCESSAT] = fr_do_access, [OP_FACCESSAT2] = fr_do_access,
    [OP_SETXATTR] = fr_do_xattr, [OP_LSETXATTR] = fr_do_xattr, [OP_FSETXATTR] = fr_do_xattr,
    [OP_SETXATTRAT] = fr_do_xattr, [OP_GETXATTR] = fr_do_xattr, [OP_LGETXATTR] = fr_do_xattr,
    [OP_FGETXATTR] = fr_do_xattr, [OP_GETXATTRAT] = fr_do_xattr, [OP_LISTXATTR] = fr_do_xattr,
    [OP_LLISTXATTR] = fr_do_xattr, [OP_FLISTXATTR] = fr_do_xattr, [OP_LISTXATTRAT] = fr_do_xattr,
    [OP_REMOVEXATTR] = fr_do_xattr, [OP_LREMOVEXATTR] = fr_do_xattr, [OP_FREMOVEXATTR] = fr_do_xattr,
    [OP_REMOVEXATTRAT] = fr_do_xattr,
    [OP_GETUID] = fr_do_get_id, [OP_GETEUID] = fr_do_get_id, [OP_GETGID] = fr_do_get_id, [OP_GETEGID] = fr_do_get_id,
    [OP_GETRESUID] = fr_do_get_id, [OP_GETRESGID] = fr_do_get_id, [OP_GETGROUPS] = fr_do_groups,
    [OP_SETUID] = fr_do_set_id, [OP_SETGID] = fr_do_set_id, [OP_SETREUID] = fr_do_set_id,
    [OP_SETREGID] = fr_do_set_id, [OP_SETRESUID] = fr_do_set_id, [OP_SETRESGID] = fr_do_set_id,
    [OP_SETFSUID] = fr_do_set_id, [OP_SETFSGID] = fr_do_set_id, [OP_SETGROUPS] = fr_do_groups,
    [OP_CAPGET] = fr_do_capabilities, [OP_CAPSET] = fr_do_capabilities, [OP_PRCTL] = fr_do_prctl,
    [OP_UMASK] = fr_do_umask, [OP_EXECVE] = fr_do_exec, [OP_EXECVEAT] = fr_do_exec,
    [OP_GETSOCKOPT] = fr_do_getsockopt, [OP_CHROOT] = fr_do_root, [OP_ROOT_CHANGE] = fr_do_root,
    [OP_GETRLIMIT] = fr_do_limit, [OP_PRLIMIT] = fr_do_limit,
};

static bool takes_path(enum fr_op op)
{
    return op <= OP_REMOVEXATTRAT || op == OP_EXECVE || op == OP_EXECVEAT;
}

bool fr_still_there(const struct fr_call *call)
{
    uint64_t id = call->id;
    int rc;

    do
        rc = ioctl(call->listener, FR_IOCTL_ID_VALID, &id);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

/* SECCOMP_IOCTL_NOTIF_ADDFD. With SEND, a signal that comes while it waits has the caller answered 0 and given no fd
 * (kernel/seccomp.c: the reply is made before the wait), so none may come. */
static int add_fd(const struct fr_call *call, struct fr_notif_addfd *add)
{
    sigset_t all, before;
    int given;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    given = ioctl(call->listener, FR_IOCTL_ADDFD, add);
    if (given < 0)
        given = -errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return given;
}

int fr_add_fd(const struct fr_call *call, int fd)
{
    struct fr_notif_addfd add = {.id = call->id, .srcfd = (uint32_t)fd, .newfd_flags = O_CLOEXEC};

    return add_fd(call, &add);
}

long fr_send_fd(struct fr_call *call, int fd, bool cloexec)
{
    struct fr_notif_addfd add = {
        .id = call->id,
        .flags = FR_ADDFD_SEND,
        .srcfd = (uint32_t)fd,
        .newfd_flags = cloexec ? O_CLOEXEC : 0,
    };
    int given = add_fd(call, &add);

    if (given >= 0)
        return FR_SENT;
    if (given != -EINVAL)
        return given;
    add.flags = 0; /* before 5.14: in two steps */
    return add_fd(call, &add);
}

/* --- one notification --- */

static long handle(struct fr_call *call, const struct fr_notif *notif)
{
    struct fr_super *super = call->super;
    enum fr_arch arch = notif->data.arch == FR_ARCH_X86_64 ? FR_X86_64
                        : notif->data.arch == FR_ARCH_I386 ? FR_I386
                                                           : FR_AARCH64;
    const struct fr_call_rule *rule;
    int nr = notif->data.nr;

    if (nr < 0 || nr >= FR_NR_MAX || super->rules[arch][nr] == 0)
        return -ENOSYS;
    rule = &fr_call_rules[super->rules[arch][nr] - 1];
    call->op = (enum fr_op)rule->op;
    call->form = (enum fr_form)rule->form;
    call->compat = arch == FR_I386;
    memcpy(call->args, notif->data.args, sizeof call->args);
    if (super->roots_vary && takes_path(call->op) && fr_enter_root(call) < 0)
        return -ESRCH;
    return HANDLERS[call->op](call);
}

static void answer(struct fr_super *super, const struct fr_call *call, long value)
{
    struct fr_notif_resp *resp = super->resp;

    if (value == FR_SENT)
        return;
    memset(resp, 0, super->resp_size);
    resp->id = call->id;
    if (value == FR_CONTINUE) {
        resp->flags = FR_RESP_CONTINUE;
        super->continued++;
    } else if (value < 0 && value >= -4095) {
        resp->error = (int32_t)value;
    } else {
        resp->val = value;
    }
    while (ioctl(call->listener, FR_IOCTL_SEND, resp) < 0 && errno == EINTR) {
    } /* ENOENT: killed meanwhile */
}

/* 0 answered, 1 nothing there, -errno. */
static int take_one(struct fr_super *super, int listener)
{
    struct fr_notif *notif = super->notif;
    struct fr_call call = {.super = super, .listener = listener};

    memset(notif, 0, super->notif_size);
    if (ioctl(listener, FR_IOCTL_RECV, notif) < 0)
        return errno == EINTR ? -EINTR : 1;
    super->notified++;
    call.id = notif->id;
    call.tid = (pid_t)notif->pid;
    answer(super, &call, handle(&call, notif));
    return 0;
}

/* --- listeners --- */

int fr_add_listener(struct fr_super *super, int listener)
{
    if (super->listener_count == FR_LISTENERS_MAX)
        return -EMFILE;
    (void)ioctl(listener, FR_IOCTL_SET_FLAGS, FR_FD_SYNC_WAKE_UP); /* 6.6; only quicker */
    super->listeners[super->listener_count++] = listener;
    return 0;
}

static void drop_listener(struct fr_super *super, size_t index)
{
    close(super->listeners[index]);
    super->listeners[index] = super->listeners[--super->listener_count];
}

/* A process that joins the container later sends its listener here. */
static void take_listener(struct fr_super *super)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    const struct cmsghdr *part;
    ssize_t got = recvmsg(super->control_fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    int fd;

    if (got == 0)
        super->control_fd = -1; /* closed: nobody will join any more */
    part = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (part == NULL || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS ||
        part->cmsg_len != CMSG_LEN(sizeof fd))
        return;
    memcpy(&fd, CMSG_DATA(part), sizeof fd);
    if (fr_add_listener(super, fd) < 0)
        close(fd);
}

static int serve_polled(struct fr_super *super, int timeout)
{
    struct pollfd polled[FR_LISTENERS_MAX + 1];
    size_t count = super->listener_count;

    for (size_t i = 0; i < count; i++)
        polled[i] = (struct pollfd){.fd = super->listeners[i], .events = POLLIN};
    polled[count] = (struct pollfd){.fd = super->control_fd, .events = POLLIN};
    if (poll(polled, count + 1, timeout) < 0)
        return -errno;
    for (size_t i = count; i > 0; i--) {
        if (polled[i - 1].revents & POLLIN) {
            if (take_one(super, polled[i - 1].fd) == -EINTR)
                return -EINTR;
        } else if (polled[i - 1].revents & (POLLHUP | POLLERR | POLLNVAL)) {
            drop_listener(super, i - 1);
        }
    }
    if (polled[count].revents & POLLIN)
        take_listener(super);
    else if (polled[count].revents & (POLLHUP | POLLERR | POLLNVAL))
        super->control_fd = -1;
    return 0;
}

static void interrupt(int number) { (void)number; }

/* RECV alone waits for one listener: quicker than poll and RECV. A newcomer on the control socket interrupts it by a
 * signal; one that comes just before the wait is found by the next tick. */
static void watch_control(struct fr_super *super, bool on)
{
    struct sigaction action = {.sa_handler = interrupt}; /* no SA_RESTART */
    struct itimerval tick = {{on ? 1 : 0, 0}, {on ? 1 : 0, 0}};

    if (super->control_fd < 0 && on)
        return;
    if (on) {
        sigaction(SIGALRM, &action, NULL);
        sigaction(SIGIO, &action, NULL);
        fcntl(super->control_fd, F_SETOWN, getpid());
        fcntl(super->control_fd, F_SETFL, fcntl(super->control_fd, F_GETFL) | O_ASYNC);
    }
    setitimer(ITIMER_REAL, &tick, NULL);
}

int fr_serve(struct fr_super *super)
{
    int rc = serve_polled(super, 0); /* what came before a signal */

    watch_control(super, true);
    while (super->listener_count > 0 && rc >= 0) {
        if (super->listener_count == 1 && super->recv_tells_end) {
            rc = take_one(super, super->listeners[0]);
            if (rc == 1) /* killed before we read, or the end: poll tells */
                rc = serve_polled(super, 0);
        } else {
            rc = serve_polled(super, -1);
        }
    }
    watch_control(super, false);
    return rc < 0 ? rc : 0;
}

/* --- start and end --- */

static bool is_kernel(unsigned wanted_major, unsigned wanted_minor)
{
    struct utsname host;
    unsigned major, minor;

    if (uname(&host) < 0 || sscanf(host.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > wanted_major || (major == wanted_major && minor >= wanted_minor);
}

/* The tables of what is mounted in the image. Called with the container's root for our own. */
static int load_mounts(struct fr_super *super, const struct fr_options *options)
{
    for (size_t i = 0; i < options->mount_count; i++) {
        const struct fr_mount *mount = &options->mounts[i];
        struct stat st;
        int rc;

        if (stat(mount->path, &st) < 0)
            return -errno;
        super->mount_devs[i] = ot_device(&super->table, st.st_dev, true);
        if (super->mount_devs[i] < 0)
            return -ENOSPC;
        rc = ot_load(&super->table, super->mount_devs[i], mount->table, mount->table_length);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int set_up(struct fr_super *super, const struct fr_options *options)
{
    struct fr_notif_sizes sizes = {0, 0, 0};
    struct rlimit files;
    struct statfs fs;
    struct stat st;
    int rc;

    if (syscall(SYS_seccomp, FR_SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
        return -errno;
    super->notif_size = sizes.notif > sizeof(struct fr_notif) ? sizes.notif : sizeof(struct fr_notif);
    super->resp_size = sizes.resp > sizeof(struct fr_notif_resp) ? sizes.resp : sizeof(struct fr_notif_resp);
    super->notif = calloc(1, super->notif_size);
    super->resp = calloc(1, super->resp_size);
    if (super->notif == NULL || super->resp == NULL)
        return -ENOMEM;
    if (stat("/", &st) < 0 || statfs("/", &fs) < 0)
        return -errno;
    super->overlay = fs.f_type == OVERLAY_MAGIC;
    rc = ot_init(&super->table, options->image_dev != 0 ? options->image_dev : (uint64_t)st.st_dev);
    if (rc == 0)
        rc = fr_creds_init(&super->creds);
    if (rc == 0)
        rc = ot_load(&super->table, 0, options->table, options->table_length);
    if (rc == 0)
        rc = load_mounts(super, options);
    if (rc == 0)
        rc = fr_find_home(super);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < super->table.count && !super->default_acls; i++) {
        size_t length;

        super->default_acls = ot_xattr_get(&super->table, &super->table.entries[i], FR_ACL_DEFAULT, &length) != NULL;
    }
    if (fchdir(super->proc_fd) < 0)
        return -errno;
    super->self_is_ours = stat("/proc/self", &st) == 0;
    umask(0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    super->recv_tells_end = is_kernel(6, 11);
    fr_open_lender(super, options->view, options->view_length);
    return 0;
}

int fr_open(struct fr_super **out, const struct fr_options *options)
{
    struct fr_super *super = calloc(1, sizeof *super);
    int rc;

    if (super == NULL)
        return -ENOMEM;
    super->proc_fd = options->proc_fd;
    super->upper_fd = options->upper_fd;
    super->control_fd = options->control_fd;
    super->lender.file = -1;
    super->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < fr_call_rule_count; i++)
        for (int arch = 0; arch < FR_ARCHES; arch++) {
            int nr = fr_call_rules[i].nr[arch];

            if (nr >= 0 && nr < FR_NR_MAX && fr_call_rules[i].op != OP_NONE)
                super->rules[arch][nr] = (uint16_t)(i + 1);
        }
    rc = super->root_fd < 0 ? -errno : set_up(super, options);
    if (rc < 0) {
        fr_close(super);
        return rc;
    }
    *out = super;
    return 0;
}

void fr_close(struct fr_super *super)
{
    if (super == NULL)
        return;
    while (super->listener_count > 0)
        drop_listener(super, 0);
    fr_end_watch(super);
    if (super->root_fd >= 0)
        close(super->root_fd);
    ot_free(&super->table);
    fr_close_lender(super);
    fr_creds_free(&super->creds);
    free(super->notif);
    free(super->resp);
    free(super);
}

void fr_count(const struct fr_super *super, struct fr_counts *counts)
{
    counts->notified = super->notified;
    counts->continued = super->continued;
    counts->entries = super->table.count;
    counts->table_bytes = ot_bytes(&super->table);
    counts->credentials = super->creds.count;
}

unsigned fr_probe(void)
{
    struct fr_rlimit64 limit;
    uint32_t action = FR_RET_USER_NOTIF;
    char from = 1, to = 0;
    struct iovec local = {&to, 1}, remote = {&from, 1};
    unsigned found = 0;

    /* "continue" cannot be asked for */
    if (is_kernel(5, 5) && syscall(SYS_seccomp, FR_SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
        found |= FR_HAS_LISTENER;
    if (syscall(SYS_seccomp, FR_SECCOMP_SET_MODE_FILTER, FR_FILTER_NEW_LISTENER | FR_FILTER_WAIT_KILLABLE_RECV,
                NULL) < 0 && errno == EFAULT)
        found |= FR_HAS_WAIT_KILLABLE;
    if (syscall(FR_NR_OPENAT2, -1, "", NULL, 0) < 0 && errno != ENOSYS)
        found |= FR_HAS_OPENAT2;
    if (syscall(FR_NR_PIDFD_GETFD, -1, -1, 0) < 0 && errno != ENOSYS)
        found |= FR_HAS_PIDFD_GETFD;
    if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1)
        found |= FR_HAS_VM_READ;
    if (syscall(SYS_prlimit64, 0, FR_RLIMIT_LOCKS, NULL, &limit) == 0 && limit.max > (FR_CRED_MARK | ~FR_CRED_MARK_MASK))
        found |= FR_HAS_LOCKS_LIMIT;
    return found;
}
