/* Files changed before and after the process has dropped its rights, by calls of libc that the view answers. Linked
 * dynamically. Says "ok", or the first thing that is not as the kernel has it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if (!(condition)) {                                                                                            \
            printf("line %d: %s (%s)\n", __LINE__, #condition, strerror(errno));                                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct stat st;

static void make(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

    EXPECT(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

static int is(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
    int good = lstat(path, &st) == 0 && st.st_uid == uid && st.st_gid == gid && (st.st_mode & 07777) == mode;

    if (!good)
        printf("%s is %o %d:%d\n", path, st.st_mode, st.st_uid, st.st_gid);
    return good;
}

static void as_root(void)
{
    EXPECT(mkdir("/root/d", 0755) == 0 && mkdir("/root/d", 0755) == -1 && errno == EEXIST);
    make("/root/d/a");
    make("/root/d/b");
    make("/root/d/c");
    EXPECT(open("/root/d/a", O_CREAT | O_EXCL | O_WRONLY, 0644) == -1 && errno == EEXIST);
    EXPECT(open("/root/none/a", O_CREAT | O_WRONLY, 0644) == -1 && errno == ENOENT);
    EXPECT(rename("/root/none", "/root/other") == -1 && errno == ENOENT);
    EXPECT(rmdir("/root/none") == -1 && errno == ENOENT);
    EXPECT(chown("/root/d/a", 0, 0) == 0 && is("/root/d/a", 0, 0, 0644));
    EXPECT(chown("/root/d/a", 5, 6) == 0 && is("/root/d/a", 5, 6, 0644));
    EXPECT(chmod("/root/d/a", 04751) == 0 && is("/root/d/a", 5, 6, 04751));
    EXPECT(chown("/root/d/a", 0, 0) == 0 && is("/root/d/a", 0, 0, 0751));
    EXPECT(chmod("/root/d/b", 0) == 0 && is("/root/d/b", 0, 0, 0));
    EXPECT(chmod("/root/d/b", 0600) == 0 && is("/root/d/b", 0, 0, 0600));
    EXPECT(chown("/root/d/c", 7, 7) == 0 && rename("/root/d/b", "/root/d/c") == 0 && is("/root/d/c", 0, 0, 0600));
    make("/root/d/b");
    EXPECT(chown("/root/d/b", 8, 8) == 0 && unlink("/root/d/b") == 0);
    make("/root/d/b");
    EXPECT(is("/root/d/b", 0, 0, 0644));
    EXPECT(mkdir("/root/d/g", 0755) == 0 && chown("/root/d/g", 0, 9) == 0 && chmod("/root/d/g", 02755) == 0);
    make("/root/d/g/f");
    EXPECT(is("/root/d/g/f", 0, 9, 0644) && mkdir("/root/d/g/h", 0700) == 0 && is("/root/d/g/h", 0, 9, 02700));
}

static void as_another(void)
{
    EXPECT(open("/root/d/new", O_CREAT | O_WRONLY, 0644) == -1 && errno == EACCES);
    EXPECT(open("/root/d/b", O_WRONLY) == -1 && errno == EACCES);
    EXPECT(unlink("/root/d/b") == -1 && errno == EACCES);
    EXPECT(rename("/root/d/b", "/tmp/b") == -1 && errno == EACCES);
    EXPECT(mkdir("/root/d/x", 0755) == -1 && errno == EACCES);
    EXPECT(chmod("/root/d/b", 0644) == -1 && errno == EPERM);
    EXPECT(chown("/root/d/b", 0, 0) == -1 && errno == EPERM);
    make("/tmp/mine");
    EXPECT(is("/tmp/mine", 1000, 1001, 0644) && chmod("/tmp/mine", 0600) == 0 && is("/tmp/mine", 1000, 1001, 0600));
    EXPECT(mkdir("/tmp/ours", 0755) == 0 && is("/tmp/ours", 1000, 1001, 0755));
    EXPECT(unlink("/tmp/mine") == 0 && rmdir("/tmp/ours") == 0);
}

int main(void)
{
    int status;
    pid_t child;

    as_root();
    child = fork();
    if (child == 0) { /* by the kernel's door, which no library sees */
        EXPECT(syscall(SYS_setgroups, 0, NULL) == 0 && syscall(SYS_setresgid, 1001, 1001, 1001) == 0 &&
               syscall(SYS_setresuid, 1000, 1000, 1000) == 0);
        as_another();
        exit(0);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    make("/root/d/after");
    EXPECT(is("/root/d/after", 0, 0, 0644));
    EXPECT(setgid(1001) == 0 && setuid(1000) == 0);
    as_another();
    puts("ok");
    return 0;
}
