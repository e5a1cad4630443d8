/* A file is made and removed again and again while another process gives it away: whoever comes first, the next file,
 * which mostly has the number of the one before, is root's. Says how many were not. Linked dynamically.
 *
 *   removal_race ROUNDS
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHERS 80 /* numbers that are held for a while are free again by then */

static void make(const char *name)
{
    if (close(open(name, O_CREAT | O_WRONLY, 0644)) != 0)
        exit(2);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 0, wrong = 0;
    char name[32];
    struct stat st;
    pid_t giver = fork();

    if (giver == 0)
        for (;;)
            if (chown("/tmp/given", 5, 5) != 0)
                continue;
    for (long i = 0; i < rounds; i++) {
        make("/tmp/given");
        unlink("/tmp/given");
        make("/tmp/next");
        wrong += stat("/tmp/next", &st) != 0 || st.st_uid != 0;
        unlink("/tmp/next");
    }
    kill(giver, SIGKILL);
    waitpid(giver, NULL, 0);
    for (int i = 0; i < 3 * OTHERS; i++) {
        snprintf(name, sizeof name, "/tmp/other%d", i);
        make(name);
        wrong += stat(name, &st) != 0 || st.st_uid != 0;
        if (i < OTHERS && chown(name, 7, 7) != 0)
            return 2;
    }
    printf("%ld wrong\n", wrong);
    return 0;
}
