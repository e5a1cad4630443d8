/* The owner table as others read it while it changes, TAP: shim.c's reader against the table that writes. */
#include "../view_look.h"

struct ot_shared *table;

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define DEV 7
#define INODES 4000
#define ROUNDS 60

static int number, failed;

static void ok(int good, const char *what)
{
    failed += !good;
    printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
}

static struct ot_shared *region(void)
{
    struct ot_shared *made = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (made == MAP_FAILED)
        exit(1);
    return made;
}

static struct ot_entry entry_of(uint64_t ino, uint32_t uid)
{
    return (struct ot_entry){.ino = ino, .uid = uid, .gid = uid + 1, .mode = 0100644};
}

static enum found see(uint64_t ino, struct ot_entry *entry) { return look(DEV, ino, 1, 0100600, entry); }

static void test_answers(void)
{
    struct ot_entry entry = entry_of(5, 50), device = entry_of(6, 60), dead = entry_of(8, 80), found;
    struct ot_table owners;

    device.mode = 020644;
    dead.flags = OT_DEAD;
    ot_init(&owners, DEV);
    ot_put(&owners, &entry);
    table = region();
    ok(see(5, &found) == ASK, "a table that nobody has opened is not read");
    ok(ot_share(&owners, table) == 0 && see(5, &found) == RECORD && found.uid == 50, "what was in it before");
    ot_put(&owners, &device);
    ot_put(&owners, &dead);
    ot_also(&owners, 5, 99);
    ok(see(6, &found) == RECORD && found.mode == 020644, "a device is a plain file on disk");
    ok(see(99, &found) == RECORD && found.uid == 50, "by another number");
    ok(look(DEV, 5, 1, 040755, &found) == ASK, "another kind of file has the number: the supervisor is asked");
    ok(see(8, &found) == ASK && look(DEV, 8, 0, 0100600, &found) == RECORD, "a name again, and none");
    ok(see(7, &found) == NO_RECORD && look(DEV + 1, 5, 1, 0100600, &found) == NO_RECORD, "no record, another disk");
    ot_begin_change(&owners);
    ok(see(5, &found) == ASK, "while it changes");
    ot_end_change(&owners);
    ot_remove(&owners, 0, 5);
    ok(see(5, &found) == NO_RECORD && see(99, &found) == NO_RECORD, "removed");
    ok(ot_unshare(&owners) == 0 && see(6, &found) == ASK && ot_find(&owners, 0, 6) != NULL, "closed, and still there");
    ot_free(&owners);
    munmap(table, SHARED_SIZE);
}

static void *read_all(void *stop)
{
    long bad = 0;

    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
        for (uint64_t ino = 0; ino < INODES; ino++) {
            struct ot_entry entry;

            if (see(ino, &entry) == RECORD && (entry.gid != entry.uid + 1 || entry.uid % INODES != ino))
                bad++;
        }
    return (void *)bad;
}

/* Owners are changed, records come and go, and it grows from nothing, while two threads read. */
static void test_changes(void)
{
    struct ot_table owners;
    pthread_t readers[2];
    int stop = 0, good = 1;

    ot_init(&owners, DEV);
    table = region();
    ok(ot_share(&owners, table) == 0, "an empty one");
    for (int i = 0; i < 2; i++)
        pthread_create(&readers[i], NULL, read_all, &stop);
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (uint32_t ino = 0; ino < INODES; ino++) {
            struct ot_entry entry = entry_of(ino, ino + round * INODES);

            if ((ino + round) % 3 == 0)
                ot_remove(&owners, 0, ino);
            else
                ot_put(&owners, &entry);
        }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++) {
        void *bad;

        pthread_join(readers[i], &bad);
        good = good && bad == NULL;
    }
    ok(good, "no reader saw another file's owner, or half of one");
    ot_free(&owners);
    munmap(table, SHARED_SIZE);
}

static void test_size(void)
{
    struct ot_table owners;
    struct ot_entry found;
    size_t count = 100000;
    int good = 1;

    ot_init(&owners, DEV);
    table = region();
    ot_share(&owners, table);
    for (size_t i = 0; i < count; i++) {
        struct ot_entry entry = entry_of(i * 977, (uint32_t)i);

        good = good && ot_put(&owners, &entry) == 0;
    }
    printf("# %zu bytes an entry\n", ot_bytes(&owners) / count);
    ok(good && ot_bytes(&owners) <= count * 64, "at most 64 bytes for each");
    for (size_t i = count; i < SHARED_ENTRIES + 10; i++) {
        struct ot_entry entry = entry_of(i * 977, (uint32_t)i);

        good = good && ot_put(&owners, &entry) == 0;
    }
    ok(good && see(977, &found) == ASK, "one that has outgrown it is read no more");
    for (size_t i = 0; i < SHARED_ENTRIES + 10 && good; i++)
        good = ot_find(&owners, 0, i * 977) != NULL && ot_find(&owners, 0, i * 977)->uid == i;
    ok(good, "and has lost nothing");
    ot_free(&owners);
    munmap(table, SHARED_SIZE);
}

int main(void)
{
    test_answers();
    test_changes();
    test_size();
    printf("1..%d\n", number);
    return failed != 0;
}
