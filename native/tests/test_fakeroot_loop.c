/* The whole supervisor under the sanitizers, TAP: namespaces of our own, the loop in one process, the sandbox tests'
 * probe in others. Needs user namespaces; leaves nothing behind, /tmp is a tmpfs of its own.
 */
#define _GNU_SOURCE
#define main probe_main
#include "../../tests/sandbox/fakeroot_probe.c"
#undef main

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "../fakeroot.h"
#include "../ownertable.h"

static const char *const WORDS[][3] = {
    {"self"}, {"paths"}, {"reuse"}, {"threads"}, {"daemon"}, {"peer"}, {"limits"}, {"many=500"}, {"create=300"}, {"fuzz=40000", "1"},
    {"fuzz=40000", "2"},
};
#define WORD_COUNT ((int)(sizeof WORDS / sizeof WORDS[0]))

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);

    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void send_fd(int to, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec data = {"x", 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};

    memset(&control, 0, sizeof control);
    control.align.cmsg_level = SOL_SOCKET;
    control.align.cmsg_type = SCM_RIGHTS;
    control.align.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
    CHECK(sendmsg(to, &message, 0) == 1);
}

static int receive_fd(int from)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    int fd;

    CHECK(recvmsg(from, &message, 0) == 1 && CMSG_FIRSTHDR(&message) != NULL);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

/* pid 1 of the new namespace: filtered, runs every word in a child of its own */
static void run_words(int supervisor)
{
    int listener;

    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
    listener = fr_install_filter(0);
    CHECK(listener >= 0);
    send_fd(supervisor, listener);
    close(listener);
    for (int i = 0; i < WORD_COUNT; i++) {
        char *argv[] = {"probe", (char *)WORDS[i][0], (char *)WORDS[i][1], NULL};
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            freopen("/dev/null", "w", stdout);
            _exit(probe_main(WORDS[i][1] != NULL ? 3 : 2, argv));
        }
        while (wait(&status) != pid) {
        }
        printf("%sok %d - %s\n", status == 0 ? "" : "not ", i + 1, WORDS[i][0]);
        fflush(stdout);
        if (strncmp(WORDS[i][0], "fuzz", 4) == 0)
            CHECK(system("rm -rf /tmp/*") == 0);
    }
    _exit(0);
}

static int supervise(int child_end, int proc_fd)
{
    struct fr_options options = {.proc_fd = proc_fd, .upper_fd = -1, .control_fd = -1};
    struct ot_table table;
    struct fr_super *super = NULL;
    struct fr_counts counts;
    void *packed = NULL;
    size_t length;
    int listener = receive_fd(child_end), rc;

    CHECK(stat("/tmp", &st) == 0);
    options.image_dev = st.st_dev;
    CHECK(fr_open(&super, &options) == 0 && fr_add_listener(super, listener) == 0);
    while ((rc = fr_serve(super)) == -EINTR) {
    }
    CHECK(rc == 0 && fr_export(super, &packed, &length) == 0);
    fr_count(super, &counts);
    fr_close(super);
    CHECK(ot_init(&table, 0) == 0 && ot_load(&table, 0, packed, length) == 0);
    ot_free(&table);
    free(packed);
    printf("ok %d - the table it leaves can be read\n", WORD_COUNT + 1);
    printf("# %llu notified, %llu continued, %llu entries\n", (unsigned long long)counts.notified,
           (unsigned long long)counts.continued, (unsigned long long)counts.entries);
    CHECK(wait(&rc) > 0 && rc == 0);
    /* the leak checker looks for itself there, and traces itself */
    CHECK(umount2("/proc", MNT_DETACH) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
    return 0;
}

int main(void)
{
    char map[64];
    int ends[2], proc_fd;
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (uid == 0) { /* what it does to a file of the host by mistake, the kernel shall refuse */
        uid = gid = 65534;
        CHECK(setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0);
        CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
    }
    CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_file("/proc/self/gid_map", map);
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("tmpfs", "/tmp", "tmpfs", 0, NULL) == 0);
    CHECK((proc_fd = open("/proc", O_PATH | O_DIRECTORY)) >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    if (fork() == 0) { /* in between: the leak checker clones, so our own children's pid namespace must stay */
        int status;

        CHECK(unshare(CLONE_NEWPID) == 0);
        if (fork() == 0)
            run_words(ends[0]);
        _exit(wait(&status) > 0 && status == 0 ? 0 : 1);
    }
    close(ends[0]);
    supervise(ends[1], proc_fd);
    printf("1..%d\n", WORD_COUNT + 1);
    return 0;
}
