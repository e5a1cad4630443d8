/* Who root is, asked by the calls that the view keeps the answer of; /etc/passwd and /etc/group change in between. Linked
 * dynamically. Says "ok", or the first thing that is not as libc would have it. */
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if (!(condition)) {                                                                                            \
            printf("line %d: %s (%s)\n", __LINE__, #condition, strerror(errno));                                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    EXPECT(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static int user_is(const char *name, uid_t uid, const char *home)
{
    struct passwd *user = getpwnam(name);

    return user != NULL && user->pw_uid == uid && strcmp(user->pw_name, name) == 0 && strcmp(user->pw_dir, home) == 0;
}

static void users(void)
{
    struct passwd *first, *again;

    write_file("/etc/passwd", "root:x:0:0:the,boss:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n");
    EXPECT(user_is("root", 0, "/root") && user_is("root", 0, "/root") && user_is("app", 1000, "/home/app"));
    EXPECT(getpwnam("rooted") == NULL && errno == 0 && getpwnam("roo") == NULL && getpwnam("") == NULL);
    EXPECT(user_is("root", 0, "/root") && strcmp(getpwnam("root")->pw_gecos, "the,boss") == 0);
    first = getpwnam("root");
    strtok(first->pw_gecos, ","); /* a program may write into its answer */
    first->pw_uid = 5;
    first->pw_name = NULL;
    EXPECT(user_is("root", 0, "/root") && strcmp(getpwnam("root")->pw_gecos, "the,boss") == 0);
    again = getpwnam("app"); /* one answer at a time */
    EXPECT(again == getpwnam("root"));
    write_file("/etc/passwd", "root:x:0:0::/home:/bin/sh\n"); /* another size */
    EXPECT(user_is("root", 0, "/home") && getpwnam("app") == NULL);
    write_file("/etc/new", "root:x:7:0::/away:/bin/sh\n"); /* the same size */
    EXPECT(rename("/etc/new", "/etc/passwd") == 0 && user_is("root", 7, "/away"));
    EXPECT(unlink("/etc/passwd") == 0 && getpwnam("root") == NULL && getpwnam("root") == NULL);
    write_file("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    EXPECT(user_is("root", 0, "/root"));
    write_file("/etc/nsswitch.conf", "passwd: nothing\n");
    (void)getpwnam("root"); /* libc has its own rules for an order that changes; none may crash */
    EXPECT(unlink("/etc/nsswitch.conf") == 0);
}

static void groups(void)
{
    char line[16384] = "many:x:55:";
    struct group *group;
    int members = 0;

    write_file("/etc/group", "root:x:0:ann,bob\nstaff:x:50:\n");
    for (int i = 0; i < 3; i++) {
        group = getgrnam("root");
        EXPECT(group != NULL && group->gr_gid == 0 && strcmp(group->gr_mem[1], "bob") == 0 && group->gr_mem[2] == NULL);
        group->gr_mem[1][0] = 'r';
        group->gr_mem[0] = NULL;
    }
    group = getgrnam("staff");
    EXPECT(group != NULL && group->gr_gid == 50 && group->gr_mem[0] == NULL);
    for (int i = 0; i < 1500; i++)
        sprintf(line + strlen(line), "u%d,", i);
    strcat(line, "last\nroot:x:0:ann\n");
    write_file("/etc/group", line);
    group = getgrnam("many"); /* more than the room that there is at first */
    EXPECT(group != NULL && group->gr_gid == 55);
    while (group->gr_mem[members] != NULL)
        members++;
    EXPECT(members == 1501 && strcmp(group->gr_mem[1500], "last") == 0);
    for (int i = 0; i < 3; i++)
        EXPECT((group = getgrnam("root")) != NULL && group->gr_gid == 0 && strcmp(group->gr_mem[0], "ann") == 0);
}

static void *ask_often(void *name)
{
    for (int i = 0; i < 2000; i++)
        (void)getpwnam(name);
    return NULL;
}

static void threads(void)
{
    pthread_t askers[4];
    char *names[] = {"root", "app", "nobody", "root"};

    for (int i = 0; i < 4; i++)
        EXPECT(pthread_create(&askers[i], NULL, ask_often, names[i]) == 0);
    for (int i = 0; i < 4; i++)
        EXPECT(pthread_join(askers[i], NULL) == 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) { /* only asks: how often? */
        for (int i = 0; i < atoi(argv[1]); i++)
            EXPECT(getpwnam("root") != NULL && getgrnam("root") != NULL);
    } else {
        users();
        groups();
        threads();
    }
    printf("ok\n");
    return 0;
}
