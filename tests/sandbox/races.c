/* Two processes act on one file at about the same time, now one earlier, now the other. Whoever comes first, what is
 * there afterwards is what one order of both leaves; and a file made next, which mostly has the inode number of one
 * that went, is root's. Says how many rounds ended otherwise.
 *
 *   races WORD ROUNDS [FOLDER]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OTHERS 80 /* numbers that are held for a while are free again by then */
#define CAPABILITY "security.capability"

static const unsigned char RAW[20] = {1, 0, 0, 2, 0, 0x20}; /* revision 2, effective: cap_net_raw */

static struct {
    atomic_long turn, done;
} *meet;

static struct stat st;

static void need(int holds)
{
    if (!holds) {
        perror("races");
        exit(2);
    }
}

static void make(const char *name) { need(close(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644)) == 0); }

static long is_wrong(const char *name, uid_t uid)
{
    return lstat(name, &st) != 0 || st.st_uid != uid || getxattr(name, CAPABILITY, NULL, 0) >= 0;
}

/* What is made now, as a file and as a folder, is root's. */
static long next_is_wrong(void)
{
    long wrong;

    make("next");
    wrong = is_wrong("next", 0);
    need(unlink("next") == 0 && mkdir("next", 0755) == 0);
    wrong += is_wrong("next", 0);
    need(rmdir("next") == 0);
    return wrong != 0;
}

static long clear(const char *name, uid_t uid)
{
    long wrong = 0;

    if (lstat(name, &st) == 0) {
        wrong = is_wrong(name, uid);
        need(remove(name) == 0);
    }
    return wrong + next_is_wrong() != 0;
}

/* --- one makes and removes, the other gives away --- */

static void file(void) { make("given"); }
static void folder(void) { need(mkdir("given", 0755) == 0); }
static void fifo(void) { need(mkfifo("given", 0644) == 0); }
static void link_to_nothing(void) { need(symlink("nothing", "given") == 0); }
static void take(void) { (void)!unlink("given"); }
static void take_folder(void) { (void)!rmdir("given"); }
static void give(void) { (void)!lchown("given", 5, 5); }
static void give_rights(void) { (void)!setxattr("given", CAPABILITY, RAW, sizeof RAW, 0); }

/* --- names of a file that is known --- */

static void known(void)
{
    make("given");
    need(chown("given", 5, 5) == 0);
}

static void two_names(void)
{
    known();
    need(link("given", "second") == 0);
}

static void take_second(void) { (void)!unlink("second"); }
static void add_second(void) { (void)!link("given", "second"); }
static void move_there(void) { (void)!rename("given", "second"); }

static void over(void)
{
    two_names();
    make("new");
}

static void put_over(void) { (void)!rename("new", "second"); }
static long left_second(void) { return clear("second", 5); }
static long left_new(void) { return clear("second", 0); }

/* --- made by a user --- */

static void nothing(void) {}
static void drop(void) { need(setgid(5) == 0 && setuid(5) == 0); }
static void born(void) { close(open("given", O_CREAT | O_EXCL | O_WRONLY, 0644)); }
static void born_folder(void) { (void)!mkdir("given", 0755); }
static void born_link(void) { (void)!symlink("nothing", "given"); }
static void born_fifo(void) { (void)!mkfifo("given", 0644); }
static long left_given(void) { return clear("given", 5); }

static long seen;

/* Who sees it at all sees whose it is. */
static void watch(void)
{
    seen = 0;
    for (long i = 0; i < 100000 && lstat("given", &st) != 0; i++)
        continue;
    seen = is_wrong("given", 5);
}

static long seen_given(void) { return seen + left_given() != 0; }

/* --- two changes of one file --- */

static void shut(void) { need(chmod("given", 0600) == 0); }

static long left_both(void)
{
    need(stat("given", &st) == 0);
    return ((st.st_mode & 07777) != 0600) + left_given() != 0;
}

static const struct {
    const char *word;
    void (*begin)(void), (*ours)(void), (*theirs)(void);
    long (*judge)(void);
    void (*them)(void); /* who they are */
} RACES[] = {
    {"chown", file, take, give, next_is_wrong, nothing},
    {"chown-folder", folder, take_folder, give, next_is_wrong, nothing},
    {"chown-fifo", fifo, take, give, next_is_wrong, nothing},
    {"chown-symlink", link_to_nothing, take, give, next_is_wrong, nothing},
    {"setcap", file, take, give_rights, next_is_wrong, nothing},
    {"both-names", two_names, take, take_second, next_is_wrong, nothing},
    {"name-and-over", over, take, put_over, left_new, nothing},
    {"link", known, take, add_second, left_second, nothing},
    {"linked", known, take_second, add_second, left_given, nothing},
    {"move", known, take_second, move_there, left_second, nothing},
    {"born", nothing, take, born, left_given, drop},
    {"born-folder", nothing, take_folder, born_folder, left_given, drop},
    {"born-symlink", nothing, take, born_link, left_given, drop},
    {"born-fifo", nothing, take, born_fifo, left_given, drop},
    {"seen", nothing, watch, born, seen_given, drop},
    {"seen-folder", nothing, watch, born_folder, seen_given, drop},
    {"chmod", file, shut, give, left_both, nothing},
};

static void wait_a_little(long turn)
{
    for (volatile long i = 0; i < turn * 7919 % 4001; i++)
        continue;
}

static void other(size_t race)
{
    RACES[race].them();
    for (long turn = 1;; turn++) {
        while (atomic_load(&meet->turn) < turn)
            sched_yield();
        wait_a_little(turn * 31);
        RACES[race].theirs();
        atomic_store(&meet->done, turn);
    }
}

static long play(size_t race, long rounds)
{
    pid_t them = fork();
    long wrong = 0;

    need(them >= 0);
    if (them == 0)
        other(race);
    for (long turn = 1; turn <= rounds; turn++) {
        RACES[race].begin();
        atomic_store(&meet->turn, turn);
        wait_a_little(turn);
        RACES[race].ours();
        while (atomic_load(&meet->done) < turn)
            sched_yield();
        wrong += RACES[race].judge();
        (void)!remove("given");
        (void)!remove("second");
        (void)!remove("new");
    }
    kill(them, SIGKILL);
    waitpid(them, NULL, 0);
    return wrong;
}

static long others_are_wrong(void)
{
    char name[32];
    long wrong = 0;

    for (int i = 0; i < 3 * OTHERS; i++) {
        snprintf(name, sizeof name, "other%d", i);
        make(name);
        wrong += is_wrong(name, 0);
        need(i >= OTHERS || chown(name, 7, 7) == 0);
    }
    return wrong;
}

int main(int argc, char **argv)
{
    size_t race = 0;
    long wrong;

    need(argc > 2 && (argc == 3 || chdir(argv[3]) == 0));
    meet = mmap(NULL, sizeof *meet, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(meet != MAP_FAILED);
    while (race < sizeof RACES / sizeof RACES[0] && strcmp(RACES[race].word, argv[1]) != 0)
        race++;
    need(race < sizeof RACES / sizeof RACES[0]);
    wrong = play(race, atol(argv[2]));
    wrong += others_are_wrong();
    printf("%ld wrong\n", wrong);
    return 0;
}
