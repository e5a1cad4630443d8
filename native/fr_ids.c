/* Credentials: whose they are (RLIMIT_LOCKS, see fr_creds.h), and the calls that read and change them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

const struct fr_cred *fr_cred_of(struct fr_super *super, pid_t pid, uint32_t *harsh_umask)
{
    struct fr_rlimit64 limit;
    const struct fr_cred *cred = NULL;

    *harsh_umask = 0;
    if (syscall(SYS_prlimit64, pid, FR_RLIMIT_LOCKS, NULL, &limit) < 0)
        return NULL;
    if ((limit.cur & FR_CRED_MARK_MASK) == FR_CRED_MARK) {
        *harsh_umask = (uint32_t)(limit.cur >> FR_HARSH_SHIFT) & FR_HARSH_MASK;
        cred = fr_creds_get(&super->creds, (uint32_t)limit.cur);
    }
    return cred != NULL ? cred : fr_creds_get(&super->creds, 0); /* no mark, or a number of the process's own making */
}

const struct fr_cred *fr_caller(struct fr_call *call)
{
    if (call->cred == NULL)
        call->cred = fr_cred_of(call->super, call->tid, &call->harsh_umask);
    if (call->cred == NULL) /* it is dying: what we answer reaches nobody */
        call->cred = fr_creds_get(&call->super->creds, 0);
    return call->cred;
}

/* Plain root may be in its own group besides: a container's first process is. Umask and capabilities are then the
 * kernel's account still. */
bool fr_is_plain(const struct fr_call *call, const struct fr_cred *cred)
{
    return cred == fr_creds_get(&call->super->creds, 0) ||
           ((cred->ruid | cred->euid | cred->suid | cred->fsuid | cred->rgid | cred->egid | cred->sgid | cred->fsgid |
             cred->securebits) == 0 &&
            (cred->inheritable | cred->ambient) == 0 && cred->permitted == cred->bounding &&
            cred->effective == cred->bounding && cred->group_count == 1 && cred->groups[0] == 0);
}

static const char *field(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at != NULL ? at + strlen(name) : "";
}

int fr_status_of(struct fr_super *super, pid_t pid, struct fr_status *status)
{
    char name[32], text[4096];
    const char *inner;
    ssize_t length;
    int fd;

    snprintf(name, sizeof name, "%d/status", pid);
    fd = openat(super->proc_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return -ESRCH;
    text[length] = 0;
    memset(status, 0, sizeof *status);
    status->umask = (uint32_t)strtoul(field(text, "\nUmask:"), NULL, 8);
    status->tgid = (pid_t)strtol(field(text, "\nTgid:"), NULL, 10);
    inner = field(text, "\nNSpid:");
    for (const char *at = inner; *at != 0 && *at != '\n'; at++)
        if (*at == '\t')
            inner = at + 1;
    status->inner_pid = (pid_t)strtol(inner, NULL, 10);
    status->inheritable = strtoull(field(text, "\nCapInh:"), NULL, 16);
    status->permitted = strtoull(field(text, "\nCapPrm:"), NULL, 16);
    status->effective = strtoull(field(text, "\nCapEff:"), NULL, 16);
    status->bounding = strtoull(field(text, "\nCapBnd:"), NULL, 16);
    status->ambient = strtoull(field(text, "\nCapAmb:"), NULL, 16);
    status->no_new_privs = strtol(field(text, "\nNoNewPrivs:"), NULL, 10) != 0;
    return 0;
}

pid_t fr_tgid(struct fr_call *call)
{
    struct fr_status status;

    /* signal 0 to thread TID of process TID: is it the leader? */
    if (syscall(SYS_tgkill, call->tid, call->tid, 0) == 0)
        return call->tid;
    return fr_status_of(call->super, call->tid, &status) == 0 ? status.tgid : call->tid;
}

int fr_caller_copy(struct fr_call *call, struct fr_cred *copy)
{
    const struct fr_cred *cred = fr_caller(call);
    struct fr_status status;
    int rc;

    *copy = *cred;
    if (!fr_is_plain(call, cred))
        return 0;
    rc = fr_status_of(call->super, call->tid, &status);
    if (rc < 0)
        return rc;
    copy->umask = status.umask;
    copy->bounding = status.bounding;
    copy->permitted = copy->effective = status.bounding;
    return 0;
}

long fr_assign(struct fr_call *call, const struct fr_cred *cred)
{
    int64_t index = fr_creds_intern(&call->super->creds, cred);
    struct fr_rlimit64 limit;

    if (index < 0)
        return (long)index;
    if (!fr_still_there(call))
        return -ESRCH;
    if (syscall(SYS_prlimit64, call->tid, FR_RLIMIT_LOCKS, NULL, &limit) < 0)
        return -errno;
    limit.cur = index == 0 && call->harsh_umask == 0
                    ? limit.max
                    : FR_CRED_MARK | (uint64_t)call->harsh_umask << FR_HARSH_SHIFT | (uint64_t)index;
    if (syscall(SYS_prlimit64, call->tid, FR_RLIMIT_LOCKS, &limit, NULL) < 0)
        return -errno;
    call->cred = fr_creds_get(&call->super->creds, (uint32_t)index);
    call->super->cred_epoch += call->super->cred_epoch == UINT32_MAX ? 2 : 1;
    fr_publish(call->super);
    return 0;
}

uint32_t fr_umask(struct fr_call *call)
{
    struct fr_cred copy;

    return fr_caller_copy(call, &copy) == 0 ? copy.umask : 022;
}

/* --- reading --- */

/* An id as the caller's ABI shows it: 16 bits overflow to 65534 (kernel: high2lowuid). */
static uint32_t shown(const struct fr_call *call, uint32_t id)
{
    return call->form == FORM_ID16 && id > UINT16_MAX ? 65534 : id;
}

static long write_ids(struct fr_call *call, uint32_t r, uint32_t e, uint32_t s)
{
    const uint32_t ids[3] = {shown(call, r), shown(call, e), shown(call, s)};

    for (int i = 0; i < 3; i++) {
        uint16_t low = (uint16_t)ids[i];
        int rc = call->form == FORM_ID16 ? fr_write(call, call->args[i], &low, sizeof low)
                                         : fr_write(call, call->args[i], &ids[i], sizeof ids[i]);

        if (rc < 0)
            return rc;
    }
    return 0;
}

long fr_do_get_id(struct fr_call *call)
{
    const struct fr_cred *cred = fr_caller(call);

    if (fr_is_plain(call, cred))
        return FR_CONTINUE;
    switch (call->op) {
    case OP_GETUID:
        return shown(call, cred->ruid);
    case OP_GETEUID:
        return shown(call, cred->euid);
    case OP_GETGID:
        return shown(call, cred->rgid);
    case OP_GETEGID:
        return shown(call, cred->egid);
    case OP_GETRESUID:
        return write_ids(call, cred->ruid, cred->euid, cred->suid);
    default:
        return write_ids(call, cred->rgid, cred->egid, cred->sgid);
    }
}

/* --- changing --- */

/* An id as the caller gave it: (uint16_t)-1 means -1 (kernel: low2highuid). */
static uint32_t given(const struct fr_call *call, int index)
{
    uint32_t id = (uint32_t)call->args[index];

    if (call->form != FORM_ID16)
        return id;
    return (uint16_t)id == UINT16_MAX ? FR_NO_ID : (uint16_t)id;
}

static long change(struct fr_call *call, struct fr_cred *cred)
{
    uint32_t old;

    switch (call->op) {
    case OP_SETUID:
        return fr_cred_setuid(cred, given(call, 0));
    case OP_SETGID:
        return fr_cred_setgid(cred, given(call, 0));
    case OP_SETREUID:
        return fr_cred_setreuid(cred, given(call, 0), given(call, 1));
    case OP_SETREGID:
        return fr_cred_setregid(cred, given(call, 0), given(call, 1));
    case OP_SETRESUID:
        return fr_cred_setresuid(cred, given(call, 0), given(call, 1), given(call, 2));
    case OP_SETRESGID:
        return fr_cred_setresgid(cred, given(call, 0), given(call, 1), given(call, 2));
    case OP_SETFSUID:
        old = cred->fsuid;
        fr_cred_setfsuid(cred, given(call, 0));
        return shown(call, old);
    case OP_SETFSGID:
        old = cred->fsgid;
        fr_cred_setfsgid(cred, given(call, 0));
        return shown(call, old);
    default:
        return -ENOSYS;
    }
}

long fr_do_set_id(struct fr_call *call)
{
    struct fr_cred cred;
    long answer, rc = fr_caller_copy(call, &cred);

    if (rc < 0)
        return rc;
    answer = change(call, &cred);
    if (answer < 0)
        return answer;
    rc = fr_assign(call, &cred);
    return rc < 0 ? rc : answer;
}

static int by_gid(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;

    return (*a > *b) - (*a < *b);
}

/* The caller's list of groups, widened and sorted; NULL with *error set. */
static uint32_t *read_groups(struct fr_call *call, uint32_t count, long *error)
{
    size_t width = call->form == FORM_ID16 ? sizeof(uint16_t) : sizeof(uint32_t);
    uint32_t *groups = malloc((count + 1) * sizeof *groups);
    const uint16_t *narrow = (const uint16_t *)groups;

    *error = -ENOMEM;
    if (groups == NULL)
        return NULL;
    *error = count != 0 ? fr_read(call, call->args[1], groups, count * width) : 0;
    if (*error == 0 && !fr_still_there(call))
        *error = -ESRCH;
    if (*error == 0 && call->form == FORM_ID16)
        for (uint32_t i = count; i > 0; i--)
            groups[i - 1] = narrow[i - 1];
    for (uint32_t i = 0; *error == 0 && i < count; i++)
        if (groups[i] == FR_NO_ID)
            *error = -EINVAL;
    if (*error < 0) {
        free(groups);
        return NULL;
    }
    qsort(groups, count, sizeof *groups, by_gid);
    return groups;
}

static long set_groups(struct fr_call *call)
{
    uint32_t count = (uint32_t)call->args[0], *groups;
    struct fr_cred cred;
    long rc = fr_caller_copy(call, &cred);

    if (rc < 0)
        return rc;
    if (!fr_cred_has(&cred, FR_CAP_SETGID))
        return -EPERM;
    if (count > FR_GROUPS_MAX)
        return -EINVAL;
    groups = read_groups(call, count, &rc);
    if (groups == NULL)
        return rc;
    cred.group_count = count;
    cred.groups = groups;
    rc = fr_assign(call, &cred);
    free(groups);
    return rc;
}

long fr_do_groups(struct fr_call *call)
{
    const struct fr_cred *cred;
    int32_t room = (int32_t)call->args[0];

    if (call->op == OP_SETGROUPS)
        return set_groups(call);
    /* Plain root has no groups: in the kernel it still has the user's own, which show as 65534 here. */
    cred = fr_caller(call);
    if (room < 0)
        return -EINVAL;
    if (room == 0)
        return (long)cred->group_count;
    if ((uint32_t)room < cred->group_count)
        return -EINVAL;
    for (uint32_t i = 0; i < cred->group_count; i++) {
        uint32_t gid = shown(call, cred->groups[i]);
        uint16_t low = (uint16_t)gid;
        int rc = call->form == FORM_ID16 ? fr_write(call, call->args[1] + 2 * i, &low, sizeof low)
                                         : fr_write(call, call->args[1] + 4 * i, &gid, sizeof gid);

        if (rc < 0)
            return rc;
    }
    return (long)cred->group_count;
}

/* --- capabilities --- */

struct cap_header {
    uint32_t version;
    int32_t pid;
};

struct cap_data {
    uint32_t effective, permitted, inheritable;
};

#define CAP_V1 0x19980330U
#define CAP_V2 0x20071026U
#define CAP_V3 0x20080522U

static long cap_get(struct fr_call *call, const struct fr_cred *cred, size_t halves)
{
    struct cap_data data[2] = {
        {(uint32_t)cred->effective, (uint32_t)cred->permitted, (uint32_t)cred->inheritable},
        {(uint32_t)(cred->effective >> 32), (uint32_t)(cred->permitted >> 32), (uint32_t)(cred->inheritable >> 32)},
    };

    if (!fr_still_there(call))
        return -ESRCH;
    return fr_write(call, call->args[1], data, halves * sizeof data[0]);
}

static long cap_set(struct fr_call *call, size_t halves)
{
    struct cap_data data[2];
    struct fr_cred cred;
    long rc;

    memset(data, 0, sizeof data);
    rc = fr_read(call, call->args[1], data, halves * sizeof data[0]);
    if (rc == 0)
        rc = fr_caller_copy(call, &cred);
    if (rc == 0)
        rc = fr_cred_capset(&cred, data[0].effective | (uint64_t)data[1].effective << 32,
                            data[0].permitted | (uint64_t)data[1].permitted << 32,
                            data[0].inheritable | (uint64_t)data[1].inheritable << 32);
    return rc < 0 ? rc : fr_assign(call, &cred);
}

long fr_do_capabilities(struct fr_call *call)
{
    const struct fr_cred *cred = fr_caller(call);
    struct cap_header header;
    struct fr_status status;
    size_t halves;

    if (call->op == OP_CAPGET && (fr_is_plain(call, cred) || call->args[1] == 0))
        return FR_CONTINUE;
    if (fr_read(call, call->args[0], &header, sizeof header) < 0)
        return -EFAULT;
    if (header.version != CAP_V1 && header.version != CAP_V2 && header.version != CAP_V3)
        return FR_CONTINUE; /* the kernel writes the version it likes, and EINVAL */
    halves = header.version == CAP_V1 ? 1 : 2;
    if (header.pid != 0) { /* itself by number, or another, of which we do not lie */
        if (fr_status_of(call->super, call->tid, &status) < 0 || header.pid != status.inner_pid)
            return FR_CONTINUE;
    }
    return call->op == OP_CAPGET ? cap_get(call, cred, halves) : cap_set(call, halves);
}

/* prctl(2) on capabilities: plain root's go to the kernel too, which keeps its own account. */
long fr_do_prctl(struct fr_call *call)
{
    uint64_t option = call->args[0], value = call->args[1];
    const struct fr_cred *now = fr_caller(call);
    struct fr_cred cred;
    long rc;

    if (fr_is_plain(call, now) && option != FR_PR_SET_KEEPCAPS && option != FR_PR_SET_SECUREBITS)
        return FR_CONTINUE;
    if (fr_caller_copy(call, &cred) < 0)
        return FR_CONTINUE;
    switch (option) {
    case FR_PR_GET_KEEPCAPS:
        return (cred.securebits & FR_SECBIT_KEEP_CAPS) != 0;
    case FR_PR_SET_KEEPCAPS:
        if (value > 1)
            return -EINVAL;
        cred.securebits = (cred.securebits & ~FR_SECBIT_KEEP_CAPS) | (value ? FR_SECBIT_KEEP_CAPS : 0);
        return fr_assign(call, &cred);
    case FR_PR_GET_SECUREBITS:
        return (long)cred.securebits;
    case FR_PR_SET_SECUREBITS:
        if (!fr_cred_has(&cred, FR_CAP_SETPCAP))
            return -EPERM;
        cred.securebits = (uint32_t)value & 0xff;
        return fr_assign(call, &cred);
    case FR_PR_CAPBSET_DROP:
        if (!fr_cred_has(&cred, FR_CAP_SETPCAP))
            return -EPERM;
        if (value > 63)
            return -EINVAL;
        cred.bounding &= ~FR_CAP_BIT(value);
        rc = fr_assign(call, &cred);
        return rc < 0 ? rc : FR_CONTINUE;
    case FR_PR_CAP_AMBIENT:
        rc = fr_cred_ambient(&cred, value, call->args[2]);
        if (rc < 0)
            return rc;
        return fr_assign(call, &cred) < 0 ? -EPERM : rc;
    default:
        return FR_CONTINUE;
    }
}

long fr_do_umask(struct fr_call *call)
{
    struct fr_cred cred = *fr_caller(call);
    uint32_t harsh = (uint32_t)call->args[0] & FR_HARSH_MASK;

    if (!fr_is_plain(call, call->cred))
        cred.umask = (uint32_t)call->args[0] & 0777;
    else if (harsh == call->harsh_umask)
        return FR_CONTINUE;
    if (harsh != 0) /* who shares its umask, but not its limits, is not told */
        call->super->unreadable = true;
    call->harsh_umask = harsh;
    fr_assign(call, &cred);
    return FR_CONTINUE;
}
