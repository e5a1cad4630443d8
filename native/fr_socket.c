/* Sockets: who made the file of a unix socket, and who is at the other end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "fr_super.h"

#define SOCKETCALL_BIND 2
#define SOCKETCALL_GETSOCKOPT 15

/* The caller's descriptor, as one of ours; -errno. */
static int take_fd(struct fr_call *call, int fd)
{
    int process = (int)syscall(FR_NR_PIDFD_OPEN, fr_tgid(call), 0), taken;

    if (process < 0)
        return -errno;
    taken = (int)syscall(FR_NR_PIDFD_GETFD, process, fd, 0);
    if (taken < 0)
        taken = -errno;
    close(process);
    return taken;
}

/* Binds the caller's socket for it: the name is resolved from its own working directory, with its umask. */
static long bind_for(struct fr_call *call, int socket, const struct sockaddr_un *address, socklen_t length)
{
    int cwd = fr_open_path(call, AT_FDCWD, ".", FR_FOLLOW);
    long rc;

    if (cwd < 0)
        return cwd;
    umask(fr_umask(call));
    rc = fchdir(cwd) < 0 || bind(socket, (const struct sockaddr *)address, length) < 0 ? -errno : 0;
    if (fchdir(call->super->proc_fd) < 0 && rc == 0)
        rc = -errno;
    umask(0);
    close(cwd);
    return rc;
}

static long record_socket(struct fr_super *super, const struct fr_place *place, struct fr_seen *seen)
{
    int fd = openat(place->dir, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    long rc = 0;

    if (fd >= 0 && fr_stat_fd(fd, &st) == 0) {
        seen->mode = (uint16_t)st.st_mode;
        ot_remove(&super->table, ot_device(&super->table, st.st_dev, false), st.st_ino);
        rc = fr_record(super, &st, seen);
    }
    fr_watch(super, fd);
    return rc;
}

static long bind_path(struct fr_call *call, int fd, const struct sockaddr_un *address, socklen_t length)
{
    const struct fr_cred *cred = fr_caller(call);
    struct fr_seen seen, parent;
    struct fr_place place;
    struct stat st;
    int socket;
    long rc = fr_open_parent(call, AT_FDCWD, address->sun_path, &place);

    if (rc != 0)
        return rc;
    rc = fr_stat_fd(place.dir, &st);
    if (rc < 0)
        goto out;
    fr_see(call->super, &st, &parent);
    seen = (struct fr_seen){.uid = cred->fsuid, .gid = parent.mode & S_ISGID ? parent.gid : cred->fsgid};
    rc = FR_CONTINUE;
    if (seen.uid == 0 && seen.gid == 0)
        goto out;
    socket = take_fd(call, fd);
    if (socket < 0)
        goto out; /* the socket's file will be root's; EBADF is the kernel's to say */
    ot_begin_change(&call->super->table); /* whoever sees it sees whose it is */
    rc = fr_still_there(call) ? bind_for(call, socket, address, length) : -ESRCH;
    close(socket);
    if (rc == 0)
        rc = record_socket(call->super, &place, &seen);
    ot_end_change(&call->super->table);
out:
    close(place.dir);
    return rc;
}

static long do_bind(struct fr_call *call, int fd, uint64_t at, uint64_t length)
{
    const struct fr_cred *cred = fr_caller(call);
    union {
        struct sockaddr_un address;
        char bytes[sizeof(struct sockaddr_un) + 1];
    } name;

    if (cred->fsuid == 0 && cred->fsgid == 0 && call->super->table.sgid_dirs == 0)
        return FR_CONTINUE;
    if (length <= offsetof(struct sockaddr_un, sun_path) || length > sizeof name.address)
        return FR_CONTINUE;
    memset(&name, 0, sizeof name);
    if (fr_read(call, at, &name.address, (size_t)length) < 0 || !fr_still_there(call))
        return FR_CONTINUE;
    if (name.address.sun_family != AF_UNIX || name.address.sun_path[0] == 0)
        return FR_CONTINUE;
    return bind_path(call, fd, &name.address, (socklen_t)length);
}

long fr_do_bind(struct fr_call *call)
{
    return do_bind(call, (int)call->args[0], call->args[1], (uint32_t)call->args[2]);
}

/* --- the peer --- */

static long put_groups(struct fr_call *call, const struct fr_cred *peer, uint64_t value, uint64_t length_at,
                       uint32_t room)
{
    uint32_t need = peer->group_count * (uint32_t)sizeof(uint32_t);

    if (fr_write(call, length_at, &need, sizeof need) < 0)
        return -EFAULT;
    if (room < need)
        return -ERANGE;
    return need != 0 ? fr_write(call, value, peer->groups, need) : 0;
}

static long do_peer(struct fr_call *call, int fd, int option, uint64_t value, uint64_t length_at)
{
    struct ucred kernel, told;
    socklen_t size = sizeof kernel;
    const struct fr_cred *peer;
    struct fr_status status;
    uint32_t harsh_umask, room;
    int socket = take_fd(call, fd), rc;

    if (socket < 0)
        return FR_CONTINUE;
    rc = getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &kernel, &size);
    close(socket);
    if (rc < 0 || kernel.pid <= 0) /* not connected, or its peer is not of our namespaces */
        return FR_CONTINUE;
    peer = fr_cred_of(call->super, kernel.pid, &harsh_umask);
    if (peer == NULL || fr_status_of(call->super, kernel.pid, &status) < 0)
        return FR_CONTINUE;
    if (fr_read(call, length_at, &room, sizeof room) < 0 || !fr_still_there(call))
        return -EFAULT;
    if (option == FR_SO_PEERGROUPS)
        return put_groups(call, peer, value, length_at, room);
    if ((int32_t)room < 0)
        return -EINVAL;
    told = (struct ucred){.pid = status.inner_pid, .uid = peer->euid, .gid = peer->egid};
    if (room > sizeof told)
        room = sizeof told;
    if (fr_write(call, value, &told, room) < 0 || fr_write(call, length_at, &room, sizeof room) < 0)
        return -EFAULT;
    return 0;
}

long fr_do_getsockopt(struct fr_call *call)
{
    return do_peer(call, (int)call->args[0], (int)call->args[2], call->args[3], call->args[4]);
}

/* i386 socketcall(2): the arguments lie in memory */
long fr_do_socketcall(struct fr_call *call)
{
    uint32_t a[5] = {0};
    size_t count = call->args[0] == SOCKETCALL_BIND ? 3 : 5;

    if (fr_read(call, call->args[1], a, count * sizeof a[0]) < 0)
        return FR_CONTINUE;
    if (call->args[0] == SOCKETCALL_BIND)
        return do_bind(call, (int)a[0], a[1], a[2]);
    if (a[1] == SOL_SOCKET && (a[2] == FR_SO_PEERCRED || a[2] == FR_SO_PEERGROUPS))
        return do_peer(call, (int)a[0], (int)a[2], a[3], a[4]);
    return FR_CONTINUE;
}
