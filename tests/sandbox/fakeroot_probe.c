/* What a shell cannot ask of the fakeroot supervisor: one small check for each word on the command line.
 * Static, so that it runs in any root. Prints what it found; a failed expectation ends it with code 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fakeroot_abi.h"
#include "fr_calls.h"

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #what, errno);                                        \
            fflush(stdout);                                                                                            \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static const unsigned char RAW[20] = {1, 0, 0, 2, 0, 0x20}; /* revision 2, effective: cap_net_raw */
static struct stat st;

static void make(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);

    CHECK(fd >= 0);
    close(fd);
}

static void expect_owner(const char *path, unsigned uid, unsigned gid)
{
    CHECK(lstat(path, &st) == 0);
    if (st.st_uid != uid || st.st_gid != gid)
        printf("%s: %u:%u, not %u:%u\n", path, st.st_uid, st.st_gid, uid, gid);
    CHECK(st.st_uid == uid && st.st_gid == gid);
}

/* Paths that go through the caller's own /proc entries. */
static void check_self(void)
{
    char name[64];
    int fd;

    make("/tmp/self");
    fd = open("/tmp/self", O_RDWR);
    CHECK(fd >= 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    CHECK(chown(name, 7, 8) == 0);
    expect_owner("/tmp/self", 7, 8);
    CHECK(stat(name, &st) == 0 && st.st_uid == 7);
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    CHECK(chown(name, 9, 10) == 0);
    CHECK(stat(name, &st) == 0 && st.st_uid == 9);
    snprintf(name, sizeof name, "/proc/thread-self/fd/%d", fd);
    CHECK(chmod(name, 04700) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 04700);
    CHECK(symlink("/proc/self/cwd", "/tmp/cwdlink") == 0 && chdir("/tmp") == 0);
    CHECK(chown("cwdlink/self", 11, 12) == 0);
    CHECK(stat("/tmp/cwdlink/self", &st) == 0 && st.st_uid == 11);
    CHECK(stat("/proc/self/root/tmp/self", &st) == 0 && st.st_uid == 11);
    CHECK(mknod("/proc/self/cwd/node", S_IFCHR | 0600, 0x103) == 0);
    CHECK(unlink("/proc/self/cwd/node") == 0);
    CHECK(chown("/proc/self/../../tmp/self", 14, 14) == 0 && chdir("/proc/self/fd") == 0);
    CHECK(chown("../../../tmp/self", 11, 15) == 0 && fstat(fd, &st) == 0 && st.st_uid == 11 && st.st_gid == 15);
    CHECK(dup2(fd, 0) == 0 && stat("/dev/stdin", &st) == 0 && st.st_uid == 11);
    CHECK(chown("/dev/stdin", 13, 13) == 0);
    expect_owner("/tmp/self", 13, 13);
}

/* Names relative to folders, symlinks in all places, "..", trailing slashes, 4096 bytes. */
static void check_paths(void)
{
    char *path = malloc(8192);
    int dir;

    CHECK(mkdir("/tmp/p", 0755) == 0 && mkdir("/tmp/p/q", 0755) == 0 && chdir("/tmp/p/q") == 0);
    make("f");
    CHECK(chown("../q/./f", 21, 22) == 0);
    expect_owner("/tmp/p/q/f", 21, 22);
    CHECK(symlink("/tmp/p/q", "abs") == 0 && symlink("q/abs", "/tmp/p/rel") == 0);
    CHECK(chown("/tmp/p/rel/f", 23, 23) == 0 && chown("../rel/abs/f", 24, 24) == 0);
    expect_owner("f", 24, 24);
    CHECK(symlink("f", "last") == 0 && lchown("last", 25, 25) == 0);
    expect_owner("last", 25, 25);
    expect_owner("f", 24, 24);
    CHECK(chown("last", 26, 26) == 0);
    expect_owner("f", 26, 26);
    CHECK(chown("f/", 1, 1) == -1 && errno == ENOTDIR);
    CHECK(chown("", 1, 1) == -1 && errno == ENOENT);
    CHECK(chown("none", 1, 1) == -1 && errno == ENOENT);
    CHECK(symlink("loop", "loop") == 0 && chown("loop", 1, 1) == -1 && errno == ELOOP);
    CHECK(chown("../../../../../../../../tmp/p/q/f", 27, 27) == 0);
    CHECK((dir = open("/tmp/p", O_PATH | O_DIRECTORY)) >= 0 && fchownat(dir, "q/f", 28, 28, 0) == 0);
    expect_owner("f", 28, 28);
    CHECK(fchownat(dir, "", 29, 29, AT_EMPTY_PATH) == 0);
    expect_owner("/tmp/p", 29, 29);
    CHECK(fchownat(999, "x", 1, 1, 0) == -1 && errno == EBADF);
    memset(path, '/', 8192);
    memcpy(path + 4090, "tmp/p", 6);
    CHECK(chown(path, 1, 1) == (strlen(path) < 4096 ? 0 : -1));
    memset(path, '/', 8192);
    strcpy(path + 4096 - 12, "tmp/p/q/f");
    CHECK(strlen(path) < 4096 && chown(path, 30, 30) == 0);
    expect_owner("f", 30, 30);
    memset(path, 'a', 8191);
    path[8191] = 0;
    CHECK(chown(path, 1, 1) == -1 && errno == ENAMETOOLONG);
    CHECK(mkdir("f/x", 0755) == -1 && errno == ENOTDIR);
}

/* Files without a name that had an owner or capabilities, and never get one: the next with their number has neither. */
static void check_nameless(void)
{
    char name[64];
    int fd;

    for (int i = 0; i < 20; i++) {
        CHECK((fd = open("/tmp", O_TMPFILE | O_RDWR, 0600)) >= 0 && fchown(fd, 17, 17) == 0);
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        CHECK(linkat(AT_FDCWD, name, AT_FDCWD, "/tmp/named", AT_SYMLINK_FOLLOW) == -1 && errno == EEXIST);
        CHECK(close(fd) == 0);
        CHECK((fd = open("/tmp/gone", O_CREAT | O_RDWR, 0600)) >= 0 && unlink("/tmp/gone") == 0);
        CHECK(fsetxattr(fd, "security.capability", RAW, sizeof RAW, 0) == 0 && close(fd) == 0);
        for (int next = 0; next < 2; next++) {
            snprintf(name, sizeof name, "/tmp/next%d", next);
            make(name);
            expect_owner(name, 0, 0);
            CHECK(getxattr(name, "security.capability", NULL, 0) == -1 && errno == ENODATA);
        }
        CHECK(unlink("/tmp/next0") == 0 && unlink("/tmp/next1") == 0);
    }
}

/* One inode number after another: what is made anew is root's, whatever had its number before. */
static void check_reuse(void)
{
    ino_t first = 0;
    int reused = 0, fd;

    for (int i = 0; i < 200; i++) {
        make("/tmp/reuse");
        CHECK(lstat("/tmp/reuse", &st) == 0);
        CHECK(st.st_uid == 0 && st.st_gid == 0 && (st.st_mode & 07777) == 0644);
        reused += st.st_ino == first;
        first = st.st_ino;
        CHECK(chown("/tmp/reuse", 42, 42) == 0 && chmod("/tmp/reuse", 04755) == 0);
        if (i % 2 == 0) {
            CHECK(unlink("/tmp/reuse") == 0);
        } else {
            make("/tmp/other");
            CHECK(rename("/tmp/other", "/tmp/reuse") == 0 && lstat("/tmp/reuse", &st) == 0 && st.st_uid == 0);
            CHECK(unlink("/tmp/reuse") == 0);
        }
        CHECK(mkdir("/tmp/reuse", 0755) == 0 && chown("/tmp/reuse", 5, 5) == 0 && rmdir("/tmp/reuse") == 0);
    }
    printf("reused %s\n", reused ? "yes" : "no");
    make("/tmp/open");
    CHECK((fd = open("/tmp/open", O_RDWR)) >= 0 && fchown(fd, 6, 6) == 0 && unlink("/tmp/open") == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_uid == 6); /* its last name is gone, the file is not */
    CHECK((fd = open("/tmp", O_TMPFILE | O_RDWR, 0600)) >= 0 && fchown(fd, 17, 17) == 0);
    {
        char name[64];

        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        CHECK(linkat(AT_FDCWD, name, AT_FDCWD, "/tmp/linked", AT_SYMLINK_FOLLOW) == 0);
        expect_owner("/tmp/linked", 17, 17);
        close(fd);
        expect_owner("/tmp/linked", 17, 17);
    }
    CHECK((fd = open("/tmp/named", O_CREAT | O_RDWR, 0600)) >= 0 && unlink("/tmp/named") == 0);
    CHECK(fchown(fd, 18, 18) == 0 && fstat(fd, &st) == 0 && st.st_uid == 18 && close(fd) == 0);
    make("/tmp/named"); /* the number that the nameless one had */
    expect_owner("/tmp/named", 0, 0);
    check_nameless();
}

static void *stat_forever(void *stop)
{
    struct stat seen;

    while (!*(volatile int *)stop) {
        CHECK(stat("/tmp/threads", &seen) == 0 && seen.st_uid == seen.st_gid);
        CHECK(fstatat(AT_FDCWD, "/tmp/threads", &seen, 0) == 0 && seen.st_uid == seen.st_gid);
    }
    return NULL;
}

static void check_threads(void)
{
    pthread_t threads[8];
    int stop = 0;

    make("/tmp/threads");
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, stat_forever, &stop) == 0);
    for (unsigned i = 1; i < 2000; i++)
        CHECK(chown("/tmp/threads", i, i) == 0);
    CHECK(setresuid(33, 33, 33) == 0); /* glibc tells every thread */
    stop = 1;
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(getuid() == 33 && setuid(0) == -1 && errno == EPERM);
}

struct how {
    uint64_t flags, mode, resolve;
};

/* Creation by a user: each descriptor is its file's, whatever signals the supervisor gets meanwhile. */
static void check_create(long count)
{
    const struct how beneath = {O_CREAT | O_WRONLY | O_EXCL, 0640, 0x08};
    char name[32];
    int fd;

    CHECK(mkdir("/tmp/create", 0777) == 0 && chown("/tmp/create", 5, 6) == 0 && chdir("/tmp/create") == 0);
    CHECK(mknod("device", S_IFCHR | 0666, 0x103) == 0 && open("device", O_WRONLY) == -1 && errno == EACCES);
    CHECK(setgid(6) == 0 && setuid(5) == 0);
    for (long i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%ld", i % 50);
        fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0);
        CHECK(fd > 2 && write(fd, "x", 1) == 1 && fstat(fd, &st) == 0);
        CHECK(st.st_uid == 5 && st.st_gid == 6 && (st.st_mode & 07777) == 0 && st.st_size == 1);
        CHECK(close(fd) == 0 && unlink(name) == 0);
    }
    CHECK((fd = (int)syscall(437, AT_FDCWD, "beneath", &beneath, sizeof beneath)) >= 0 && fstat(fd, &st) == 0);
    CHECK(st.st_uid == 5 && (st.st_mode & 07777) == 0640);
    CHECK(syscall(437, AT_FDCWD, "beneath", &beneath, sizeof beneath) == -1 && errno == EEXIST);
    CHECK(syscall(437, AT_FDCWD, "../outside", &beneath, sizeof beneath) == -1 && errno == EXDEV);
    CHECK((fd = open(".", O_TMPFILE | O_WRONLY, 0600)) >= 0 && fstat(fd, &st) == 0 && st.st_uid == 5);
    CHECK(symlink("target", "dangling") == 0 && (fd = open("dangling", O_CREAT | O_WRONLY, 0600)) >= 0);
    expect_owner("target", 5, 6);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0);
    CHECK((fd = open("cloexec", O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600)) >= 0);
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(fd, F_GETFL) & O_APPEND) != 0);
}

/* A chain of forks 1,000 deep, the parents killed: the last still knows who it is. */
static void check_forks(void)
{
    int ends[2];
    char byte = 0;

    CHECK(pipe(ends) == 0 && setgid(44) == 0 && setuid(55) == 0);
    for (int i = 0; i < 1000; i++) {
        pid_t pid = fork();

        CHECK(pid >= 0);
        if (pid != 0) {
            if (i == 0) {
                close(ends[1]);
                CHECK(read(ends[0], &byte, 1) == 1 && byte == 'y');
                return;
            }
            kill(getpid(), SIGKILL);
        }
    }
    byte = getuid() == 55 && getegid() == 44 && setuid(0) == -1 ? 'y' : 'n';
    CHECK(write(ends[1], &byte, 1) == 1);
    _exit(0);
}

static void check_daemon(void)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        CHECK(setresuid(66, 66, 66) == 0);
        if (fork() == 0) {
            setsid();
            if (fork() == 0) {
                usleep(200000); /* both parents are long gone */
                make("/tmp/daemon");
                rename("/tmp/daemon", "/tmp/daemon.done");
                _exit(0);
            }
            _exit(0);
        }
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    for (int i = 0; i < 100 && access("/tmp/daemon.done", F_OK) != 0; i++)
        usleep(50000);
    expect_owner("/tmp/daemon.done", 66, 0);
}

static void check_peer(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/tmp/socket"};
    struct ucred peer;
    socklen_t size = sizeof peer;
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client, status;
    pid_t pid;

    CHECK(bind(server, (struct sockaddr *)&address, sizeof address) == 0 && listen(server, 5) == 0);
    pid = fork();
    if (pid == 0) {
        CHECK(setgid(71) == 0 && setuid(70) == 0);
        client = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
        CHECK(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0);
        CHECK(peer.uid == 0 && peer.gid == 0 && peer.pid == getppid());
        strcpy(address.sun_path, "/tmp/second");
        umask(027);
        CHECK(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address) == 0);
        expect_owner("/tmp/second", 70, 71);
        CHECK((st.st_mode & 07777) == 0750);
        CHECK(read(client, &status, 1) == 1);
        _exit(0);
    }
    client = accept(server, NULL, NULL);
    CHECK(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0);
    CHECK(peer.uid == 70 && peer.gid == 71 && peer.pid == pid);
    CHECK(write(client, "x", 1) == 1 && waitpid(pid, &status, 0) == pid && status == 0);
    expect_owner("/tmp/socket", 0, 0);
}

/* Each intercepted call with pointers that lead nowhere: EFAULT or another error, and the supervisor lives. Which calls
 * these are is the supervisor's own table's to say; on x86-64 those of 32-bit programs are among them. */
#ifdef __x86_64__
static const enum fr_arch ARCHES[] = {FR_X86_64, FR_X86_64, FR_I386};
enum { LOW = MAP_32BIT };

static long call32(long call, const uint64_t *a)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(call), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}
#else
static const enum fr_arch ARCHES[] = {FR_AARCH64};
enum { LOW = 0 };

static long call32(long call, const uint64_t *a) { return syscall(call, a[0], a[1], a[2], a[3], a[4]); }
#endif

static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void fuzz_child(long count, char *edge, char *text, volatile long *done)
{
    const uint64_t pool[] = {0, 1, (uint64_t)-1, 0xffffffffULL, 0x7fffffffULL, (uint64_t)edge, (uint64_t)edge - 1,
                             (uint64_t)edge - 8, 0xffff800000000000ULL, 0x00007ffffffff000ULL, (uint64_t)text,
                             (uint64_t)(text + 64), (uint64_t)(text + 128), (uint64_t)(text + 192), (uint64_t)-100, 3,
                             0100, 02000000, 0x1000, 0x100, 17, 20, 4096, 65536, 020000000, 0644, 04755, 8, 47};

    for (long i = 0; i < count; i++) {
        const struct fr_call_rule *rule = &fr_call_rules[next_random() % fr_call_rule_count];
        enum fr_arch arch = ARCHES[next_random() % (sizeof ARCHES / sizeof ARCHES[0])];
        uint64_t a[6];
        int call = rule->nr[arch];

        if (call < 0 || (rule->op == OP_ROOT_CHANGE && rule->rule == RULE_BITS)) /* no clone, no new mount namespace */
            continue;
        for (int j = 0; j < 6; j++)
            a[j] = next_random() % 8 == 0 ? next_random() : pool[next_random() % (sizeof pool / sizeof pool[0])];
        if (rule->rule == RULE_EQUAL) /* of prctl's options those that are looked at: others end a process for good */
            a[rule->arg] = rule->value;
        if (rule->rule == RULE_SOCKOPT)
            a[1] = 1, a[2] = rule->value;
        if (rule->op == OP_EXECVE || rule->op == OP_EXECVEAT)
            a[1] = a[2] = (uint64_t)edge - 1;
        if (arch == FR_I386)
            call32(call, a);
        else
            syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
        ++*done;
    }
    _exit(0);
}

static void check_fuzz(long count, uint64_t start)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | LOW, -1, 0);
    char *text = page, *edge = page + 4096;
    volatile long *done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(page != MAP_FAILED && munmap(edge, 4096) == 0 && done != MAP_FAILED);
    CHECK(mkdir("/tmp/fuzz", 0777) == 0);
    strcpy(text, "/tmp/fuzz/a");
    strcpy(text + 64, "/tmp/fuzz/b/c");
    strcpy(text + 128, "security.capability");
    strcpy(text + 192, "../tmp/fuzz/../fuzz/./a");
    memset(edge - 300, 'x', 300); /* runs off the page, no NUL */
    for (int round = 0; *done < count; round++) { /* a child may hang in a call, or end itself by one */
        int status;
        pid_t pid = fork();

        CHECK(pid >= 0);
        if (pid == 0) {
            CHECK(chdir("/tmp/fuzz") == 0);
            ualarm(300000, 0); /* a FIFO that it made and opens waits for ever, as it should */
            seed = start * 1000003 + (uint64_t)round + 1;
            for (int fd = 0; fd < 64; fd++) /* small numbers are descriptors: none may be of the world outside */
                close(fd);
            make("/tmp/fuzz/standard");
            CHECK(open("/tmp/fuzz/standard", O_RDWR) == 0 && dup(0) == 1 && dup(0) == 2);
            fuzz_child(count - *done < 2000 ? count - *done : 2000, edge, text, done);
        }
        CHECK(waitpid(pid, &status, 0) == pid);
    }
    printf("%ld calls\n", *done);
    make("/tmp/after");
    CHECK(chown("/tmp/after", 1, 2) == 0);
    expect_owner("/tmp/after", 1, 2);
}

static void check_many(long count)
{
    char name[64];

    CHECK(mkdir("/tmp/many", 0755) == 0 && chdir("/tmp/many") == 0);
    for (long i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%ld", i);
        make(name);
        CHECK(chown(name, (uid_t)(1 + i), (gid_t)(4204350 - i)) == 0);
    }
    for (long i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%ld", i);
        CHECK(stat(name, &st) == 0 && st.st_uid == (uid_t)(1 + i) && st.st_gid == (gid_t)(4204350 - i));
    }
}

/* Filters of a program's own: one is welcome, a second listener the kernel refuses. */
static void check_filters(void)
{
    struct {
        uint16_t code;
        uint8_t jt, jf;
        uint32_t k;
    } allow = {0x06, 0, 0, 0x7fff0000}; /* return ALLOW */
    struct {
        uint16_t length;
        void *filter;
    } program = {1, &allow};

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(syscall(SYS_seccomp, 1, 1 << 3, &program) == -1 && errno == EBUSY);
    CHECK(syscall(SYS_seccomp, 1, 0, &program) == 0);
    make("/tmp/filtered");
    CHECK(chown("/tmp/filtered", 3, 3) == 0);
    expect_owner("/tmp/filtered", 3, 3);
}

static void check_limits(void)
{
    struct rlimit limit = {5, 6};
    int flags;

    check_filters();

    CHECK(setuid(5) == 0);
    CHECK(getrlimit(10, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
    limit.rlim_cur = 0;
    CHECK(setrlimit(10, &limit) == 0 && getuid() == 5);
    CHECK(syscall(425, 1, NULL) == -1 && errno == ENOSYS); /* io_uring_setup */
    CHECK((flags = (int)syscall(SYS_getpid | 0x40000000)) == -1 && errno == ENOSYS); /* x32 */
    CHECK(fsync(1) == 0 && syscall(SYS_syncfs, -1) == 0);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (strcmp(word, "self") == 0)
            check_self();
        else if (strcmp(word, "paths") == 0)
            check_paths();
        else if (strcmp(word, "reuse") == 0)
            check_reuse();
        else if (strcmp(word, "threads") == 0)
            check_threads();
        else if (strcmp(word, "forks") == 0)
            check_forks();
        else if (strcmp(word, "daemon") == 0)
            check_daemon();
        else if (strcmp(word, "peer") == 0)
            check_peer();
        else if (strcmp(word, "limits") == 0)
            check_limits();
        else if (strncmp(word, "fuzz=", 5) == 0)
            check_fuzz(atol(word + 5), i + 1 < argc ? strtoull(argv[++i], NULL, 10) : 1);
        else if (strncmp(word, "create=", 7) == 0)
            check_create(atol(word + 7));
        else if (strncmp(word, "caps=", 5) == 0)
            CHECK(setxattr(word + 5, "security.capability", RAW, sizeof RAW, 0) == 0);
        else if (strncmp(word, "many=", 5) == 0)
            check_many(atol(word + 5));
        else
            CHECK(!"known word");
    }
    puts("ok");
    return 0;
}
