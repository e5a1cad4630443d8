/* The fakeroot supervisor: gives the processes of one container root's view of the file system, with one uid.
 *
 *   command ──syscall──▶ BPF filter ──USER_NOTIF──▶ listener fd ──▶ fr_serve() ──▶ "continue" | a value | an fd
 *                                                                     │
 *                                                    owner table (inode → owner), credentials
 *
 * The caller is P1: a process in the container's user and mount namespace, its root the container's root, outside the
 * container's pid namespace, with an fd of a procfs of its own pid namespace. It must be single-threaded (its working
 * directory, root and umask are changed) and hold all capabilities of its user namespace.
 *
 * It acts with the user's own rights; the illusion is no security boundary, the namespaces are.
 */
#ifndef IECHOR_FAKEROOT_H
#define IECHOR_FAKEROOT_H

#include <stddef.h>
#include <stdint.h>

#include "fakeroot_abi.h"

/* fr_probe() */
#define FR_HAS_LISTENER 1U      /* seccomp user notification with "continue" (5.5) */
#define FR_HAS_WAIT_KILLABLE 2U /* 5.19 */
#define FR_HAS_OPENAT2 4U       /* 5.6 */
#define FR_HAS_PIDFD_GETFD 8U   /* 5.6 */
#define FR_HAS_VM_READ 16U      /* process_vm_readv */
#define FR_HAS_LOCKS_LIMIT 32U  /* the hard limit of RLIMIT_LOCKS leaves room for credentials */

unsigned fr_probe(void);

/* The filter, for this machine's architectures. fsync: leave the durability calls to the kernel.
 * Returns the number of instructions, 0 when they do not fit. */
size_t fr_build_filter(struct fr_bpf_insn *program, size_t room, int fsync);

/* Loads it into the calling thread with the namespace's CAP_SYS_ADMIN (no no_new_privs); returns the listener, -errno. */
int fr_install_filter(int fsync);

/* What is mounted in the container besides the image, and has a table of its own. */
struct fr_mount {
    const char *path; /* as the container's root names it */
    const void *table;
    size_t table_length;
};

struct fr_options {
    int proc_fd;          /* procfs of this process's own pid namespace */
    int upper_fd;         /* overlayfs upper directory, -1 in check-out mode */
    int control_fd;       /* socket on which more listeners arrive (SCM_RIGHTS), -1 */
    uint64_t image_dev;   /* st_dev of the image's file system; 0: that of "/" */
    const void *table;    /* packed, see ownertable.h */
    size_t table_length;
    const void *view;     /* the object that shim.c makes, lent to programs; length 0: none */
    size_t view_length;
    const struct fr_mount *mounts;
    size_t mount_count;   /* at most FR_MOUNTS_MAX */
};
#define FR_MOUNTS_MAX 64

struct fr_super;

int fr_open(struct fr_super **out, const struct fr_options *options); /* 0, -errno */
int fr_add_listener(struct fr_super *super, int listener);            /* takes the fd over; 0, -errno */

/* Answers until the last filtered process is gone: 0. -EINTR: a signal came, call again. Else -errno. */
int fr_serve(struct fr_super *super);

/* The final table, packed; *out is malloc'ed. Copied-up files are written under the upper file's inode number too. */
int fr_export(struct fr_super *super, void **out, size_t *length);
/* The records of the file system that mount number `index` is on: several mounts may lie on one. */
int fr_export_mount(struct fr_super *super, size_t index, void **out, size_t *length);

struct fr_counts {
    uint64_t notified, continued, entries, table_bytes, credentials;
};
void fr_count(const struct fr_super *super, struct fr_counts *counts);
void fr_close(struct fr_super *super);

#endif
