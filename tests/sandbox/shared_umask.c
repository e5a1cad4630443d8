/* The umask belongs to who shares it (CLONE_FS), the limits that carry credentials to a process: one takes every right from
 * what both make, the other makes a folder and a file in the working directory. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[65536];

static int take(void *nothing)
{
    (void)nothing;
    umask(0777);
    return 0;
}

int main(void)
{
    int child = clone(take, stack + sizeof stack, CLONE_FS | SIGCHLD, NULL), status;

    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return 1;
    return mkdir("folder", 0755) < 0 || mkdir("folder/below", 0755) < 0 || open("file", O_CREAT | O_WRONLY, 0644) < 0;
}
