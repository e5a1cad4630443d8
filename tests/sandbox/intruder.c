/* Tries doors that have no file, from inside a step, and prints a line for each that opens: nothing when none does. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void opened(const char *door, int number)
{
    printf("%s %d\n", door, number);
}

/* Whatever is open but the three streams came with us by mistake; and through a socket descriptors could be passed. */
static void inherited(void)
{
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    struct stat status;

    while (folder && (entry = readdir(folder))) {
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] != '.' && fd > 2 && fd != dirfd(folder))
            opened("inherited descriptor", fd);
        if (entry->d_name[0] != '.' && fd <= 2 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode))
            opened("a socket as stream", fd);
    }
    if (folder)
        closedir(folder);
}

/* Process 1 is ours, or a supervisor's: its memory, its registers, its descriptors. */
static void process_1(void)
{
    char byte;
    long address = 0;
    struct iovec here = {&byte, 1}, there = {&address, 1};
    int fd;

    if (ptrace(PTRACE_SEIZE, 1, 0, 0) == 0)
        opened("ptrace seize", 1);
    if (ptrace(PTRACE_ATTACH, 1, 0, 0) == 0)
        opened("ptrace attach", 1);
    errno = 0; /* EFAULT would mean: allowed, and nothing there */
    if (process_vm_readv(1, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT)
        opened("process_vm_readv", 1);
    errno = 0;
    if (process_vm_writev(1, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT)
        opened("process_vm_writev", 1);
    if ((fd = syscall(SYS_pidfd_open, 1, 0)) >= 0)
        for (int number = 0; number < 64; number++) {
            int got = syscall(SYS_pidfd_getfd, fd, number, 0);

            if (got >= 0)
                opened("a descriptor of process 1", number);
        }
    if (syscall(SYS_kcmp, getpid(), 1, 0, 0, 0) >= 0)
        opened("kcmp", 1);
    if (prctl(PR_SET_PTRACER, 1) == 0 && getppid() == 0)
        opened("process 0 as parent", 0);
}

/* The namespaces above ours, and those of process 1 where they are others than ours. */
static void namespaces(void)
{
    static const char *const kinds[] = {"user", "pid", "mnt", "net", "ipc", "uts", "cgroup"};
    char path[64];

    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int fd;

        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        if ((fd = open(path, O_RDONLY)) < 0)
            continue;
        if (i < 2 && ioctl(fd, NS_GET_PARENT) >= 0)
            opened("the namespace above", (int)i);
        close(fd);
        snprintf(path, sizeof path, "/proc/1/ns/%s", kinds[i]);
        if (i > 0 && (fd = open(path, O_RDONLY)) >= 0 && fork() == 0) {
            chdir("/");
            _exit(setns(fd, 0) == 0 && access("/proc/1/environ", R_OK) == 0 ? (opened("setns", (int)i), 1) : 0);
        }
    }
}

/* Not even root may change the host's network, and only real root may listen to it. */
static void network(int as_root)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg link;
    } request = {{sizeof request, RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0}, {AF_UNSPEC, 0, 1, 0, 0, 0}};
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

    request.link.ifi_flags = 1; /* IFF_UP, of the loopback, which is up: no harm where it is let through */
    request.link.ifi_change = 1;
    if (fd >= 0 && send(fd, &request, sizeof request, 0) > 0 && recv(fd, &answer, sizeof answer, 0) > 0 &&
        answer.head.nlmsg_type == NLMSG_ERROR && answer.error.error == 0)
        opened("netlink changes the network", 0);
    if (!as_root && socket(AF_PACKET, SOCK_RAW, 0) >= 0)
        opened("a packet socket", 0);
}

/* To watch, stop or slow what is not ours. */
static void others(void)
{
    int fd = syscall(SYS_fanotify_init, 0x8 /* FAN_CLASS_CONTENT: may hold up others' opens */, O_RDONLY);
    struct sched_param first = {.sched_priority = 1};

    if (fd >= 0)
        opened("fanotify may hold up opens", fd);
    if (sched_setscheduler(0, SCHED_FIFO, &first) == 0)
        opened("real-time priority", 0);
    if (kill(0x7ffffffe, 0) == 0)
        opened("a process that cannot be", 0);
    if (mkdir("/proc/self/root/../../host", 0700) == 0 && access("/host", F_OK) != 0)
        opened("a folder above the root", 0);
}

int main(int count, char **words __attribute__((unused)))
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    inherited();
    if (getpid() != 1)
        process_1();
    namespaces();
    network(count > 1);
    others();
    return 0;
}
