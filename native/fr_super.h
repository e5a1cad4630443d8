/* Inside the supervisor: what its files share. One thread, no locks.
 *
 *   fakeroot.c   loop, dispatch            fr_paths.c   a caller's path, resolved as the caller would
 *   fr_stat.c    stat and access families  fr_owner.c   chown, chmod        fr_xattr.c   extended attributes
 *   fr_acl.c     POSIX ACLs                fr_view.c    the table joined to a stat
 *   fr_open.c    open, new files           fr_create.c  folders, nodes, links; how a file begins
 *   fr_export.c  the final table           fr_remove.c  unlink, rename      fr_socket.c  bind, SO_PEERCRED
 *   fr_ids.c     set*id, get*id, cap*      fr_exec.c    execve, roots, limits
 *   fr_upper.c   copied-up files' numbers     fr_lend.c  lends shim.c to programs
 */
#ifndef IECHOR_FR_SUPER_H
#define IECHOR_FR_SUPER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fakeroot.h"
#include "fr_calls.h"
#include "fr_creds.h"
#include "fr_shared.h"
#include "ownertable.h"

#define FR_PATH_MAX 4096
#define FR_LISTENERS_MAX 256
#define FR_WATCHED 64

/* A handler's answer: a value or -errno, or one of these. */
#define FR_CONTINUE LONG_MIN   /* let the kernel do the call itself */
#define FR_SENT (LONG_MIN + 1) /* answered already (an fd was handed over) */

struct fr_root_id {
    uint64_t dev, ino, mount;
};

/* The view that programs are lent (shim.c), with the owner table; file -1: none. */
struct fr_lender {
    int file;
    int lists[SHARED_LISTS]; /* [n]: holds "/proc/self/fd/n"; 0: not made yet */
    struct ot_shared *shared;
};

/* A file that had a record or a further name a moment ago (fr_watch); fd 0: none. */
struct fr_watched {
    int fd;
    mode_t mode;
    uint64_t dev, ino;
};

struct fr_super {
    int listeners[FR_LISTENERS_MAX];
    size_t listener_count;
    int proc_fd, root_fd, upper_fd, control_fd;
    bool overlay;       /* image on overlayfs: a lower file's change of owner must copy it up */
    bool self_is_ours;  /* the container's /proc is of our own pid namespace: its "self" would be us */
    bool roots_vary;    /* some process has (had) another root or mount namespace */
    bool default_acls;  /* some folder has a default ACL: creation must be looked at */
    bool recv_tells_end; /* SECCOMP_IOCTL_NOTIF_RECV returns when the last process is gone (6.11): no poll needed */
    bool unreadable;     /* files that lock their owner out may have been made: mended at the end (fr_export.c) */
    struct fr_root_id home, root; /* the container's root; the one we are in */
    struct fr_lender lender;
    uint32_t cred_epoch; /* counts the changes of any process's credentials */
    struct fr_watched watched[FR_WATCHED]; /* in a ring */
    size_t next_watched;
    struct ot_table table;
    int mount_devs[FR_MOUNTS_MAX]; /* index of the file system in the table */
    struct fr_creds creds;
    uint16_t rules[FR_ARCHES][FR_NR_MAX]; /* index into fr_call_rules + 1 */
    size_t notif_size, resp_size;
    void *notif, *resp;
    uint64_t notified, continued;
    char text[2][FR_PATH_MAX + 1]; /* paths read from the caller */
    char scratch[FR_PATH_MAX + 64];
};

struct fr_call {
    struct fr_super *super;
    int listener;
    uint64_t id;
    pid_t tid;
    enum fr_op op;
    enum fr_form form;
    bool compat; /* 32-bit caller */
    uint64_t args[6];
    const struct fr_cred *cred; /* of fr_caller(), once asked for */
    uint32_t harsh_umask; /* likewise: rights of the owner that its umask takes; creation that needs them is looked at */
};

/* What the image says of a file. */
struct fr_seen {
    uint32_t uid, gid, rdev;
    uint16_t mode;
};

/* --- fakeroot.c --- */
int fr_add_fd(const struct fr_call *call, int fd); /* a copy among the caller's, close-on-exec: its number there, -errno */
bool fr_still_there(const struct fr_call *call); /* SECCOMP_IOCTL_NOTIF_ID_VALID */
long fr_send_fd(struct fr_call *call, int fd, bool cloexec); /* FR_SENT or -errno; fd stays open here */

/* --- fr_memory.c --- the caller's memory; 0 or -EFAULT --- */
int fr_read(const struct fr_call *call, uint64_t from, void *to, size_t length);
int fr_write(const struct fr_call *call, uint64_t to, const void *from, size_t length);
/* A string of at most room - 1 bytes: its length, -EFAULT, -ENAMETOOLONG. */
long fr_read_string(const struct fr_call *call, uint64_t from, char *to, size_t room);
/* A path into super->text[which]: NULL with *error set. Good for a look: who acts on it asks fr_still_there first,
 * since the pid may be another process's by now (fr_open_parent does). */
const char *fr_path(struct fr_call *call, uint64_t from, int which, long *error);

/* --- fr_paths.c --- */
struct fr_place {
    int dir; /* O_PATH fd, ours to close */
    char name[NAME_MAX + 1];
    bool slash; /* the path ended in a slash */
};
#define FR_FOLLOW 1U
#define FR_EMPTY_OK 2U /* an empty path means dirfd itself */
bool fr_is_at_home(struct fr_call *call); /* the caller's root is the container's */
int fr_find_home(struct fr_super *super);
int fr_enter_root(struct fr_call *call); /* become able to resolve this caller's paths; 0 or -errno */
int fr_open_path(struct fr_call *call, int dirfd, const char *text, unsigned flags); /* O_PATH fd, -errno */
int fr_open_from(struct fr_call *call, int base, const char *text, unsigned flags);  /* the same, from an fd of ours */
int fr_open_fd(struct fr_call *call, int fd);                                        /* the caller's fd, O_PATH */
/* -ESRCH when the caller is gone; FR_CONTINUE where the last part is ".", ".." or nothing: the kernel's own error is right. */
long fr_open_parent(struct fr_call *call, int dirfd, const char *text, struct fr_place *place);
long fr_open_parent_from(struct fr_call *call, int base, const char *text, struct fr_place *place);
/* Quick look at a path; good to decide, not to act on. 0 or -errno. */
int fr_stat_path(struct fr_call *call, int dirfd, const char *text, unsigned flags, struct stat *st);
int fr_stat_fd(int fd, struct stat *st);

/* --- fr_view.c --- the table joined to a stat --- */
struct ot_entry *fr_entry(struct fr_super *super, const struct stat *st); /* NULL: default illusion */
void fr_see(struct fr_super *super, const struct stat *st, struct fr_seen *seen);
int fr_record(struct fr_super *super, const struct stat *st, const struct fr_seen *seen); /* 0, -errno */
/* The record of fd's file, if that has no name any more. before: as it was seen when it had one. */
void fr_forget_gone(struct fr_super *super, int fd, const struct stat *before);
/* fd's file has a record or a name that it had not before. Its last name may go meanwhile, unseen: we look again, later.
 * Takes the O_PATH fd over; -1 is none. */
void fr_watch(struct fr_super *super, int fd);
/* The same after its first record (if that made one), where the disk's mode is the image's but for set-id bits. */
void fr_watch_first(struct fr_super *super, int fd, const struct stat *st);
void fr_end_watch(struct fr_super *super); /* looks at all of them */
int fr_copy_up(struct fr_super *super, int fd, struct stat *st); /* without other effect; st is filled anew */
/* May the caller do `mask` (R_OK …) to this file, by what the image says? Only the acts that we see are asked. */
bool fr_may(struct fr_call *call, const struct stat *st, int mask);
uint32_t fr_disk_mode(uint32_t mode); /* the mode bits the disk gets: never what locks the owner out */
/* our own fd as a path below proc_fd, which is the working directory; into buffer[32] */
const char *fr_self_path(int fd, char *buffer);

/* --- fr_upper.c --- a copied-up file's two numbers --- */
/* fd's file was changed just now, so it lies in the upper directory: its number there finds its record from now on. */
void fr_note_upper(struct fr_super *super, int fd, const struct stat *st);
/* The kernel is about to copy this file up: if the table knows it, that happens now, so that it stays known. */
void fr_copy_up_known(struct fr_call *call, int dirfd, const char *text, unsigned flags);

/* File capabilities go with the first write, which is the kernel's to do: a mark on the disk goes with them. */
int fr_mark(struct fr_super *super, int fd, struct ot_entry *entry); /* 0, -errno: no mark can be set */
void fr_check_mark(struct fr_super *super, int fd, struct ot_entry *entry); /* gone: so are the capabilities */
void fr_unmark(struct fr_super *super, int fd, struct ot_entry *entry);

/* --- fr_lend.c --- */
/* Puts the view and the table into one file; where that cannot be, nothing is lent. */
void fr_open_lender(struct fr_super *super, const void *view, size_t length);
void fr_close_lender(struct fr_super *super);
/* Tells the programs that have the view what they may take for granted. */
void fr_publish(struct fr_super *super);
/* Is this ld.so asking for its list of libraries to preload? Then it finds one, and gets what it names: true. */
bool fr_lend(struct fr_call *call);

/* --- fr_acl.c --- */
#define FR_CAPABILITY "security.capability"
#define FR_ACL_ACCESS "system.posix_acl_access"
#define FR_ACL_DEFAULT "system.posix_acl_default"
/* -EINVAL for a list that is not well formed; else what it makes of *mode, and whether it says more than a mode can. */
int fr_acl_mode(const unsigned char *acl, size_t length, uint32_t *mode, bool *extended);
bool fr_acl_is_extended(const unsigned char *acl, size_t length);
void fr_acl_chmod(struct fr_super *super, struct ot_entry *entry, uint32_t mode); /* chmod changes the ACL too */
/* A new file: its folder's default ACL becomes its access ACL, in place; returns the mode for the one asked for. */
uint32_t fr_acl_born(unsigned char *acl, size_t length, uint32_t asked);

/* --- fr_ids.c --- */
const struct fr_cred *fr_caller(struct fr_call *call);
int fr_caller_copy(struct fr_call *call, struct fr_cred *copy); /* plain root filled in from /proc; 0 or -errno */
long fr_assign(struct fr_call *call, const struct fr_cred *cred);
const struct fr_cred *fr_cred_of(struct fr_super *super, pid_t pid, uint32_t *harsh_umask); /* NULL: no such process */
bool fr_is_plain(const struct fr_call *call, const struct fr_cred *cred);
uint32_t fr_umask(struct fr_call *call);

struct fr_status {
    pid_t tgid;
    pid_t inner_pid; /* in the innermost pid namespace */
    uint32_t umask;
    uint64_t inheritable, permitted, effective, bounding, ambient;
    bool no_new_privs;
};
int fr_status_of(struct fr_super *super, pid_t pid, struct fr_status *status); /* 0 or -errno */
pid_t fr_tgid(struct fr_call *call);

/* --- handlers --- */
long fr_do_stat(struct fr_call *call);
long fr_do_statx(struct fr_call *call);
long fr_do_access(struct fr_call *call);
long fr_do_chown(struct fr_call *call);
long fr_do_chmod(struct fr_call *call);
long fr_do_xattr(struct fr_call *call);
long fr_do_open(struct fr_call *call);
long fr_do_truncate(struct fr_call *call);
long fr_do_utimes(struct fr_call *call);
long fr_do_mkdir(struct fr_call *call);
long fr_do_mknod(struct fr_call *call);
long fr_do_symlink(struct fr_call *call);
long fr_do_link(struct fr_call *call);
long fr_do_unlink(struct fr_call *call);
long fr_do_rename(struct fr_call *call);
long fr_do_unmount(struct fr_call *call);
long fr_do_bind(struct fr_call *call);
long fr_do_getsockopt(struct fr_call *call);
long fr_do_socketcall(struct fr_call *call);
long fr_do_get_id(struct fr_call *call);
long fr_do_set_id(struct fr_call *call);
long fr_do_groups(struct fr_call *call);
long fr_do_capabilities(struct fr_call *call);
long fr_do_prctl(struct fr_call *call);
long fr_do_umask(struct fr_call *call);
long fr_do_exec(struct fr_call *call);
long fr_do_root(struct fr_call *call);
long fr_do_limit(struct fr_call *call);

#endif
