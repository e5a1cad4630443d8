/* What the matrix does without a libc in the image: static, one word says which. Prints what it sees; 0 when all is well. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NEED(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("line %d: %s: %s\n", __LINE__, #what, strerror(errno));                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static const unsigned char RAW[20] = {1, 0, 0, 2, 0, 0x20}; /* revision 2, effective: cap_net_raw */

static void show(const char *name, const struct stat *seen)
{
    printf("%s %o %u:%u %lu\n", name, seen->st_mode, seen->st_uid, seen->st_gid, (unsigned long)seen->st_nlink);
}

/* Each call of the chown and stat families, at its turn. */
static void owners(const char *path)
{
    struct statx more;
    struct stat seen;
    char link[64];
    int fd;

    snprintf(link, sizeof link, "%s.link", path);
    NEED((fd = open(path, O_CREAT | O_RDWR | O_EXCL, 0644)) >= 0 && symlink(path, link) == 0);
    NEED(chown(link, 445605, 4204350) == 0 && stat(path, &seen) == 0);
    show("chown", &seen);
    NEED(lchown(link, 1, 2) == 0 && lstat(link, &seen) == 0);
    show("lchown", &seen);
    NEED(fchmod(fd, 06755) == 0 && fchown(fd, (uid_t)-1, 65534) == 0 && fstat(fd, &seen) == 0);
    show("fchown", &seen);
    NEED(fchownat(AT_FDCWD, link, 3, 4, AT_SYMLINK_NOFOLLOW) == 0);
    NEED(fstatat(AT_FDCWD, link, &seen, AT_SYMLINK_NOFOLLOW) == 0);
    show("fchownat", &seen);
    NEED(fchownat(fd, "", 5, 6, AT_EMPTY_PATH) == 0 && fstatat(fd, "", &seen, AT_EMPTY_PATH) == 0);
    show("of an open file", &seen);
    NEED(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &more) == 0);
    printf("statx %o %u:%u\n", more.stx_mode, more.stx_uid, more.stx_gid);
    NEED(fchmodat(AT_FDCWD, path, 0400, 0) == 0 && close(fd) == 0);
}

/* A chain of processes, each the child of the one before, by fork and exec; halfway down they drop to 1234. */
static void chain(char **words, int depth, int half)
{
    char left[16];
    int status, fd;
    pid_t child;

    if (depth == half)
        NEED(setgroups(0, NULL) == 0 && setgid(1234) == 0 && setuid(1234) == 0);
    if (depth == 0) {
        NEED((fd = open(words[2], O_CREAT | O_WRONLY | O_EXCL, 0644)) >= 0 && close(fd) == 0);
        exit(getuid() == 1234 && getgid() == 1234 && setuid(0) == -1 ? 0 : 2);
    }
    NEED((child = fork()) >= 0);
    if (child == 0) {
        snprintf(left, sizeof left, "%d", depth - 1);
        words[3] = left;
        execv(words[0], words);
        NEED(0);
    }
    NEED(waitpid(child, &status, 0) == child);
    NEED((getuid() == 1234) == (depth <= half));
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
}

/* As daemons do: drops, forks twice, and works on when its parents are gone. */
static void daemonise(const char *path, uid_t uid)
{
    int fd;

    NEED(setgroups(0, NULL) == 0 && setresgid(uid + 1, uid + 1, uid + 1) == 0 && setresuid(uid, uid, uid) == 0);
    if (fork() > 0)
        exit(0);
    NEED(setsid() > 0);
    if (fork() > 0)
        exit(0);
    while (getppid() != 1)
        usleep(1000);
    NEED(setuid(0) == -1 && errno == EPERM);
    NEED(mkdir(path, 02750) == 0 && chdir(path) == 0 && symlink("done", "link") == 0);
    NEED((fd = open("half", O_CREAT | O_WRONLY | O_EXCL, 0640)) >= 0);
    dprintf(fd, "%u %u %u\n", getuid(), geteuid(), getegid());
    NEED(close(fd) == 0 && rename("half", "done") == 0);
}

enum { FILES = 64, ROUNDS = 40 };
static atomic_int done;
static char folder[128];

static void *change(void *argument)
{
    long first = (long)argument;

    for (int round = 1; round <= ROUNDS; round++)
        for (long i = first; i < FILES; i += 2) {
            char name[160];

            snprintf(name, sizeof name, "%s/%ld", folder, i);
            NEED(chown(name, (uid_t)(round * 1000), (gid_t)(round * 1000 + 1)) == 0);
        }
    atomic_fetch_add(&done, 1);
    return NULL;
}

static void *watch(void *argument)
{
    unsigned last[FILES] = {0};

    (void)argument;
    while (atomic_load(&done) < 2)
        for (int i = 0; i < FILES; i++) {
            struct stat seen;
            char name[160];

            snprintf(name, sizeof name, "%s/%d", folder, i);
            NEED(stat(name, &seen) == 0);
            NEED(seen.st_uid >= last[i]); /* never an older one; of uid and gid the kernel itself may show two chowns */
            last[i] = seen.st_uid;
        }
    return NULL;
}

static void threads(const char *where)
{
    pthread_t made[6];

    snprintf(folder, sizeof folder, "%s", where);
    NEED(mkdir(folder, 0755) == 0);
    for (int i = 0; i < FILES; i++) {
        char name[160];
        int fd;

        snprintf(name, sizeof name, "%s/%d", folder, i);
        NEED((fd = open(name, O_CREAT | O_WRONLY, 0644)) >= 0 && close(fd) == 0);
    }
    for (long i = 0; i < 6; i++)
        NEED(pthread_create(&made[i], NULL, i < 2 ? change : watch, (void *)i) == 0);
    for (int i = 0; i < 6; i++)
        NEED(pthread_join(made[i], NULL) == 0);
}

/* Paths as long as the kernel takes them, and one byte more; then a tree deeper than any path can say. */
static void paths(const char *where)
{
    static char path[PATH_MAX + 1];
    char step[201];
    struct stat seen;
    int fd;

    memset(step, 'n', 200);
    step[200] = 0;
    NEED(mkdir(where, 0755) == 0);
    strcpy(path, where);
    while (PATH_MAX - 1 - strlen(path) > NAME_MAX + 1)
        NEED(mkdir(strcat(strcat(path, "/"), step), 0755) == 0);
    strcat(path, "/");
    memset(path + strlen(path), 'x', PATH_MAX - 1 - strlen(path));
    NEED(strlen(path) == PATH_MAX - 1);
    NEED((fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0644)) >= 0 && close(fd) == 0);
    NEED(chown(path, 42, 43) == 0 && stat(path, &seen) == 0 && seen.st_uid == 42 && chmod(path, 04711) == 0);
    path[PATH_MAX - 1] = 'x'; /* 4,096 bytes and no end: one more than fits */
    NEED(chown(path, 44, 45) == -1 && errno == ENAMETOOLONG);
    NEED(stat(path, &seen) == -1 && errno == ENAMETOOLONG);
    NEED(open(path, O_CREAT | O_WRONLY, 0644) == -1 && errno == ENAMETOOLONG);
    NEED(chdir(where) == 0 && mkdir("deep", 0755) == 0 && chdir("deep") == 0);
    for (int i = 0; i < 25; i++)
        NEED(mkdir(step, 0755) == 0 && chown(step, (uid_t)i, 7) == 0 && chdir(step) == 0);
    NEED(mknod("node", S_IFCHR | 0600, 0x103) == 0 && lchown("node", 8, 9) == 0 && stat("node", &seen) == 0);
    show("deep", &seen);
}

static void listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct stat seen;

    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    NEED(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0);
    NEED(lstat(path, &seen) == 0);
    show("socket", &seen);
    NEED(chown(path, 71, 72) == 0 && chmod(path, 0600) == 0 && lstat(path, &seen) == 0);
    show("socket", &seen);
}

int main(int count, char **words)
{
    const char *what = count > 2 ? words[1] : "";
    char value[64];
    ssize_t length;

    setvbuf(stdout, NULL, _IONBF, 0);
    umask(022);
    if (strcmp(what, "owners") == 0)
        owners(words[2]);
    else if (strcmp(what, "setcap") == 0)
        NEED(setxattr(words[2], "security.capability", RAW, sizeof RAW, 0) == 0);
    else if (strcmp(what, "getcap") == 0) {
        length = getxattr(words[2], "security.capability", value, sizeof value);
        printf("%s: %zd", words[2], length);
        for (ssize_t i = 0; i < length; i++)
            printf("%s%02x", i ? "" : " ", (unsigned char)value[i]);
        puts("");
    } else if (strcmp(what, "chain") == 0)
        chain(words, atoi(words[3]), atoi(words[4]));
    else if (strcmp(what, "daemon") == 0)
        daemonise(words[2], (uid_t)atoi(words[3]));
    else if (strcmp(what, "threads") == 0)
        threads(words[2]);
    else if (strcmp(what, "paths") == 0)
        paths(words[2]);
    else if (strcmp(what, "socket") == 0)
        listen_at(words[2]);
    else
        return 9;
    return 0;
}
