/* Paths of a hostile command: the supervisor's walk ends at the file where the command's own would, or both end nowhere.
 *
 * The command is a child of ours in a small tree of folders and symlinks; it is told each path, and says what it finds.
 *
 *   input   1 byte how; then a byte for each piece of the path
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fr_super.h"
#include "require.h"

#define FOLDER_FD 40

struct question {
    int dirfd, follow;
    char text[FR_PATH_MAX];
};

struct answer {
    bool found;
    uint64_t dev, ino;
};

static char top[] = "/tmp/fuzz-path-XXXXXX";

static const char *const PIECES[] = {
    "/", "/", "/", "a", "d", "e", "up", "far", "loop", "dangling", "chain", "slash", "..", ".", "//", "tmp", "proc",
    "self", "thread-self", "cwd", "root", "fd", "40", "exe", "task", "/proc/self/", "/proc/self/fd/40/", "...",
    "file", "/proc/self/cwd/", top, "\377",
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"};

static struct answer look(int dirfd, const char *text, int follow)
{
    struct answer answer = {0};
    struct stat st;
    int fd = openat(dirfd, text, O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));

    if (fd >= 0 && fstat(fd, &st) == 0)
        answer = (struct answer){true, st.st_dev, st.st_ino};
    if (fd >= 0)
        close(fd);
    return answer;
}

static void serve(int socket)
{
    struct question question;

    require(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && chdir(top) == 0 && chdir("d") == 0);
    require(dup2(open("..", O_PATH | O_DIRECTORY), FOLDER_FD) == FOLDER_FD);
    while (recv(socket, &question, sizeof question, 0) == (ssize_t)sizeof question) {
        struct answer answer = look(question.dirfd, question.text, question.follow);

        if (send(socket, &answer, sizeof answer, 0) != (ssize_t)sizeof answer)
            break;
    }
    _exit(0);
}

static void remove_tree(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", top);
    if (system(command) != 0)
        fputs("the tree stays\n", stderr);
}

static void make_tree(void)
{
    require(mkdtemp(top) != NULL && chdir(top) == 0);
    require(mkdir("d", 0755) == 0 && mkdir("d/d", 0755) == 0 && mkdir("d/e", 0755) == 0);
    require(close(open("a", O_CREAT | O_WRONLY, 0644)) == 0 && close(open("d/file", O_CREAT | O_WRONLY, 0644)) == 0);
    require(symlink("../a", "d/up") == 0 && symlink(top, "d/far") == 0 && symlink("loop", "d/loop") == 0);
    require(symlink("nowhere", "d/dangling") == 0 && symlink("far/d/up", "d/chain") == 0);
    require(symlink("d/", "slash") == 0 && symlink("e/", "d/slash") == 0 && symlink("/proc/self/cwd", "far") == 0);
    atexit(remove_tree);
}

/* A socket to the command, whose number goes into *pid. */
static int command(pid_t *pid)
{
    int ends[2];

    make_tree();
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    *pid = fork();
    require(*pid >= 0);
    if (*pid == 0)
        serve(ends[1]);
    close(ends[1]);
    return ends[0];
}

static size_t build(char *text, const uint8_t *data, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < size; i++) {
        const char *piece = PIECES[data[i] % (sizeof PIECES / sizeof PIECES[0])];

        if (used + strlen(piece) >= FR_PATH_MAX)
            break;
        memcpy(text + used, piece, strlen(piece));
        used += strlen(piece);
    }
    text[used] = 0;
    return used;
}

/* The kernel may number a file of /proc anew whenever nobody has it open. */
static bool is_same(const struct stat *st, const struct answer *wanted)
{
    static struct stat proc;

    require(proc.st_dev != 0 || stat("/proc", &proc) == 0);
    return st->st_dev == wanted->dev && (st->st_ino == wanted->ino || st->st_dev == proc.st_dev);
}

static void compare(struct fr_call *call, const struct question *question, const struct answer *wanted)
{
    unsigned flags = question->follow ? FR_FOLLOW : 0;
    struct stat st, quick;
    int fd = fr_open_path(call, question->dirfd, question->text, flags);
    int rc = fr_stat_path(call, question->dirfd, question->text, flags, &quick);

    require((fd >= 0) == wanted->found && (rc == 0) == wanted->found);
    if (fd < 0)
        return;
    require(fstat(fd, &st) == 0 && is_same(&st, wanted) && is_same(&quick, wanted));
    close(fd);
}

/* The folder that holds the last part, and its name: together they are the path. */
static void compare_parent(struct fr_call *call, const struct question *question, const struct answer *wanted)
{
    struct fr_place place;
    struct stat st;
    bool found;

    if (question->follow || fr_open_parent_from(call, -1, question->text, &place) != 0)
        return;
    found = fstatat(place.dir, place.name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!place.slash)
        require(found == wanted->found && (!found || is_same(&st, wanted)));
    close(place.dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fr_super super;
    static int socket = -1;
    static pid_t pid;
    struct fr_call call = {.super = &super};
    struct question question;
    struct answer wanted;

    if (socket < 0) {
        socket = command(&pid);
        super.proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        super.self_is_ours = true;
        require(super.proc_fd >= 0 && fchdir(super.proc_fd) == 0);
    }
    memset(&question, 0, sizeof question);
    if (size < 2 || build(question.text, data + 1, size - 1) == 0)
        return 0;
    question.dirfd = data[0] & 1 ? FOLDER_FD : AT_FDCWD;
    question.follow = (data[0] & 2) != 0;
    require(send(socket, &question, sizeof question, 0) == (ssize_t)sizeof question);
    require(recv(socket, &wanted, sizeof wanted, 0) == (ssize_t)sizeof wanted);
    call.tid = pid;
    compare(&call, &question, &wanted);
    if (question.text[0] == '/')
        compare_parent(&call, &question, &wanted);
    return 0;
}
