/* execve of set-id files and files with capabilities, roots that change, and the limit that carries credentials. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fr_super.h"

#define INTERPRETERS_MAX 5 /* kernel: BINPRM loops */

/* The first bytes of a file: 0 or -errno. A regular file only: nothing else may block us. */
static int read_head(struct fr_super *super, int fd, char *head, size_t room, size_t *length)
{
    char path[32];
    int opened = openat(super->proc_fd, fr_self_path(fd, path), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    ssize_t got;

    if (opened < 0)
        return -errno;
    got = pread(opened, head, room - 1, 0);
    close(opened);
    if (got < 0)
        return -errno;
    head[got] = 0;
    *length = (size_t)got;
    return 0;
}

/* "#!": the interpreter's name, NULL for another kind of file. */
static char *interpreter(char *head, size_t length)
{
    char *name, *end;

    if (length < 3 || head[0] != '#' || head[1] != '!')
        return NULL;
    name = head + 2;
    while (*name == ' ' || *name == '\t')
        name++;
    end = name + strcspn(name, " \t\r\n");
    *end = 0;
    return *name != 0 ? name : NULL;
}

/* From the file named to the one whose set-id bits count: a script's interpreter. Takes fd; O_PATH fd or -errno. */
static int find_program(struct fr_call *call, int fd, char *head, size_t room)
{
    for (int i = 0; i < INTERPRETERS_MAX; i++) {
        size_t length = 0;
        char *name;
        struct stat st;
        int next, rc = fr_stat_fd(fd, &st);

        if (rc == 0 && (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)))
            rc = -EACCES;
        if (rc == 0)
            rc = read_head(call->super, fd, head, room, &length);
        if (rc < 0) {
            close(fd);
            return rc;
        }
        name = interpreter(head, length);
        if (name == NULL) {
            if (length >= 4 && memcmp(head, "\177ELF", 4) == 0)
                return fd;
            close(fd);
            return -ENOEXEC;
        }
        next = fr_open_path(call, AT_FDCWD, name, FR_FOLLOW);
        close(fd);
        if (next < 0)
            return next;
        fd = next;
    }
    close(fd);
    return -ELOOP;
}

static bool honours_set_id(struct fr_call *call, int fd)
{
    struct fr_status status;
    struct statvfs fs;

    if (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID))
        return false;
    return fr_status_of(call->super, call->tid, &status) == 0 && !status.no_new_privs;
}

static long become(struct fr_call *call, int fd)
{
    struct fr_super *super = call->super;
    struct ot_entry *entry;
    const void *filecap = NULL;
    size_t length = 0;
    struct fr_cred cred;
    struct fr_seen seen;
    struct stat st;

    if (fr_stat_fd(fd, &st) < 0)
        return FR_CONTINUE;
    fr_see(super, &st, &seen);
    entry = fr_entry(super, &st);
    if (entry != NULL) {
        fr_check_mark(super, fd, entry);
        filecap = ot_xattr_get(&super->table, entry, FR_CAPABILITY, &length);
    } else if (st.st_uid != 0 || st.st_gid != 0) {
        seen.mode &= (uint16_t)~(S_ISUID | S_ISGID); /* the host's: of an id that is not mapped (bprm_fill_uid) */
    }
    if ((seen.mode & S_ISUID) || (seen.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) || filecap != NULL) {
        if (!honours_set_id(call, fd)) {
            seen.mode &= (uint16_t)~(S_ISUID | S_ISGID);
            filecap = NULL;
        }
    } else if (fr_is_plain(call, fr_caller(call))) {
        return FR_CONTINUE;
    }
    if (fr_caller_copy(call, &cred) == 0) {
        fr_cred_exec(&cred, seen.mode, seen.uid, seen.gid, filecap, length);
        fr_assign(call, &cred);
    }
    return FR_CONTINUE;
}

/* The new credentials are given before the kernel's exec; so look first whether it will come to pass. */
long fr_do_exec(struct fr_call *call)
{
    bool at = call->op == OP_EXECVEAT;
    int dirfd = at ? (int)call->args[0] : AT_FDCWD;
    unsigned how = at ? (unsigned)call->args[4] : 0;
    unsigned flags = (how & FR_AT_SYMLINK_NOFOLLOW ? 0 : FR_FOLLOW) | (how & FR_AT_EMPTY_PATH ? FR_EMPTY_OK : 0);
    const char *text;
    char head[256];
    struct stat st;
    long rc;
    int fd;

    text = fr_path(call, call->args[at ? 1 : 0], 0, &rc);
    if (text == NULL)
        return FR_CONTINUE;
    /* execvp(3) tries every folder of PATH */
    if (fr_stat_path(call, dirfd, text, flags, &st) < 0)
        return FR_CONTINUE;
    fd = fr_open_path(call, dirfd, text, flags);
    if (fd < 0)
        return FR_CONTINUE;
    fd = find_program(call, fd, head, sizeof head);
    if (fd < 0)
        return FR_CONTINUE;
    rc = fr_still_there(call) ? become(call, fd) : -ESRCH;
    close(fd);
    return rc;
}

long fr_do_root(struct fr_call *call)
{
    if (call->op == OP_CHROOT && !fr_cred_has(fr_caller(call), FR_CAP_SYS_CHROOT))
        return -EPERM;
    call->super->roots_vary = true;
    return FR_CONTINUE;
}

/* RLIMIT_LOCKS as a program expects to find it: no limit, and setting it has no effect. Marked, it is the view's way of
 * asking whether its process is plain root, and may be left to make files alone. */
long fr_do_limit(struct fr_call *call)
{
    uint64_t wide[2] = {UINT64_MAX, UINT64_MAX}, out = call->args[call->op == OP_PRLIMIT ? 3 : 1];
    uint32_t narrow[2] = {UINT32_MAX, UINT32_MAX};

    if (call->op == OP_PRLIMIT && call->args[5] == FR_MARKED)
        return fr_is_plain(call, fr_caller(call)) && call->harsh_umask == 0;
    if (out == 0)
        return 0;
    if (!fr_still_there(call))
        return -ESRCH;
    if (call->op == OP_GETRLIMIT && call->compat)
        return fr_write(call, out, narrow, sizeof narrow);
    return fr_write(call, out, wide, sizeof wide);
}
