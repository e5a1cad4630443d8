/* The owner table alone, TAP. Built with the sanitizers: see the Makefile. */
#include "../ownertable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number, failed;

static void ok(int good, const char *what)
{
    failed += !good;
    printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
}

static struct ot_entry entry_of(uint64_t ino, uint32_t uid)
{
    return (struct ot_entry){.ino = ino, .uid = uid, .gid = uid + 1, .mode = 0100644};
}

static void test_many(void)
{
    struct ot_table table;
    const size_t count = 100000;
    size_t bytes;
    int good = 1;

    ok(ot_init(&table, 7) == 0, "made");
    for (size_t i = 0; i < count; i++) {
        struct ot_entry entry = entry_of(i * 977, (uint32_t)i);

        good = good && ot_put(&table, &entry) == 0;
    }
    ok(good && table.count == count, "100,000 entries in");
    bytes = table.capacity * sizeof(struct ot_entry) + table.slot_count * sizeof(uint32_t);
    ok(bytes <= count * 64, "at most 64 bytes for each");
    printf("# %zu bytes an entry\n", bytes / count);
    for (size_t i = 0; i < count; i += 2)
        ot_remove(&table, 0, i * 977);
    for (size_t i = 0; i < count && good; i++) {
        const struct ot_entry *entry = ot_find(&table, 0, i * 977);

        good = i % 2 == 0 ? entry == NULL : entry != NULL && entry->uid == i;
    }
    ok(good && table.count == count / 2, "every second one removed, the others found");
    ot_free(&table);
}

/* The table against a plain array, under random changes. */
static void test_model(void)
{
    enum { INOS = 97 };
    uint32_t model[INOS] = {0};
    struct ot_table table;
    unsigned seed = 1;
    int good = 1;

    ot_init(&table, 7);
    for (int round = 0; round < 200000 && good; round++) {
        unsigned ino;

        seed = seed * 1103515245U + 12345U;
        ino = (seed >> 8) % INOS;
        if ((seed >> 20) % 3 == 0) {
            ot_remove(&table, 0, ino);
            model[ino] = 0;
        } else {
            struct ot_entry entry = entry_of(ino, seed | 1);

            good = ot_put(&table, &entry) == 0;
            model[ino] = seed | 1;
        }
        ino = (seed >> 12) % INOS;
        good = good && (ot_find(&table, 0, ino) != NULL) == (model[ino] != 0);
        good = good && (model[ino] == 0 || ot_find(&table, 0, ino)->uid == model[ino]);
    }
    ok(good, "agrees with an array under 200,000 changes");
    ot_free(&table);
}

static void test_counts(void)
{
    struct ot_table table;
    struct ot_entry folder = {.ino = 5, .gid = 3, .mode = 042755};
    int other;

    ot_init(&table, 7);
    ot_put(&table, &folder);
    ok(table.sgid_dirs == 1, "a set-gid folder is counted");
    folder.mode = 040755;
    ot_put(&table, &folder);
    ok(table.sgid_dirs == 0, "and no longer when the bit is gone");
    folder.flags = OT_LINKED | OT_DEAD;
    ot_put(&table, &folder);
    ok(table.linked == 1 && table.dead == 1, "so are the others");
    ot_drop_dead(&table);
    ok(table.count == 0 && table.linked == 0 && table.dead == 0, "the dead go, and their counts");
    other = ot_device(&table, 8, true);
    ok(other == 1 && ot_device(&table, 8, true) == 1 && ot_device(&table, 9, false) == -1, "file systems are numbered");
    folder.dev = (uint16_t)other;
    ot_put(&table, &folder);
    ok(ot_find(&table, 0, 5) == NULL && ot_find(&table, 1, 5) != NULL, "an inode belongs to one of them");
    ot_free(&table);
}

static void test_xattrs(void)
{
    struct ot_table table;
    struct ot_entry entry = entry_of(1, 0), second = entry_of(2, 0), *at;
    char names[64], big[OT_XATTR_VALUE_MAX] = {1};
    size_t length;

    ot_init(&table, 7);
    ot_put(&table, &entry);
    ot_put(&table, &second);
    at = ot_find(&table, 0, 1);
    ok(ot_xattr_get(&table, at, "security.capability", &length) == NULL, "no attribute at first");
    ok(ot_xattr_set(&table, at, "security.capability", "12345", 5) == 0, "set");
    ok(ot_xattr_set(&table, at, "trusted.x", "", 0) == 0, "a second one, empty");
    ok(ot_xattr_set(&table, at, "security.capability", "abc", 3) == 0, "replaced");
    at = ot_find(&table, 0, 1);
    ok(memcmp(ot_xattr_get(&table, at, "security.capability", &length), "abc", 3) == 0 && length == 3, "read back");
    ok(ot_xattr_names(&table, at, names, sizeof names) == 30, "names");
    ok(memcmp(names, "trusted.x\0security.capability", 30) == 0, "in the order they were set");
    ok(ot_xattr_names(&table, at, names, 3) == 30, "too little room is told by the length");
    ok(ot_xattr_copy(&table, at, ot_find(&table, 0, 2)) == 0, "copied");
    ok(ot_xattr_remove(&table, at, "nothing") == -ENODATA && ot_xattr_remove(&table, at, "trusted.x") == 0 &&
           ot_xattr_remove(&table, at, "security.capability") == 0 && at->xattrs == 0,
       "removed");
    ok(ot_xattr_get(&table, ot_find(&table, 0, 2), "trusted.x", &length) != NULL && length == 0, "the copy has them");
    ok(ot_xattr_set(&table, at, "trusted.big", big, sizeof big) == -ENOSPC, "a list has an end");
    ok(ot_xattr_set(&table, at, "", "", 0) == -ERANGE, "a name has a beginning");
    ot_remove(&table, 0, 2);
    ot_free(&table);
}

/* A copied-up file: the lower's number and the upper's find one record. */
static void test_two_numbers(void)
{
    struct ot_table table, again;
    struct ot_entry entry = entry_of(1ULL << 40, 5);
    const struct ot_entry *found;
    size_t length;
    void *packed;

    ot_init(&table, 7);
    ok(ot_also(&table, entry.ino, 30) == 0 && ot_find(&table, 0, 30) == NULL, "no record yet, by neither number");
    ot_put(&table, &entry);
    ok(ot_find(&table, 0, 30) != NULL && ot_find(&table, 0, 30) == ot_find(&table, 0, entry.ino), "found by both");
    entry.ino = 30;
    entry.uid = 6;
    ot_put(&table, &entry);
    found = ot_find(&table, 0, 1ULL << 40);
    ok(found != NULL && found->uid == 6 && found->ino == 1ULL << 40, "changed by both");
    ok(ot_also(&table, 30, 1ULL << 40) == 0 && ot_find(&table, 0, 30) == found, "no number leads to itself");
    ot_xattr_set(&table, ot_find(&table, 0, 30), "security.x", "v", 1);
    ot_store(&table, 0, (struct ot_alias[]){{1ULL << 40, 30}}, 1, &packed, &length);
    ot_init(&again, 7);
    ok(ot_load(&again, 0, packed, length) == 0 && again.count == 2 && ot_find(&again, 0, 30)->uid == 6 &&
           ot_xattr_get(&again, ot_find(&again, 0, 30), "security.x", &length) != NULL,
       "written under both, each once");
    free(packed);
    ot_free(&again);
    ot_remove(&table, 0, 30);
    ok(ot_find(&table, 0, 30) == NULL && ot_find(&table, 0, 1ULL << 40) != NULL, "the number is another inode's again");
    ot_put(&table, &(struct ot_entry){.ino = 31, .uid = 9});
    ot_also(&table, 1ULL << 40, 31);
    ok(ot_find(&table, 0, 31)->uid == 6, "what had the number before is forgotten");
    ot_remove(&table, 0, 1ULL << 40);
    ot_store(&table, 0, NULL, 0, &packed, &length);
    ok(ot_find(&table, 0, 31) == NULL && length == OT_HEADER_SIZE, "a record that is gone is gone by both");
    free(packed);
    ot_free(&table);
}

static void test_packed(void)
{
    struct ot_table table, again;
    struct ot_entry device = {.ino = 9, .mode = 020600, .rdev = ot_rdev_make(4095, 1048575)}, *at;
    struct ot_entry linked = entry_of(3, 5), dead = entry_of(4, 5), foreign = entry_of(6, 5);
    const struct ot_alias aliases[] = {{3, 100}, {3, 101}, {77, 78}};
    void *packed = NULL, *twice = NULL;
    size_t length, second_length;
    unsigned char *bytes;
    int refused = 1;

    ot_init(&table, 7);
    linked.flags = OT_LINKED;
    dead.flags = OT_DEAD;
    foreign.dev = (uint16_t)ot_device(&table, 12, true);
    ot_put(&table, &device);
    ot_put(&table, &linked);
    ot_put(&table, &dead);
    ot_put(&table, &foreign);
    ot_xattr_set(&table, ot_find(&table, 0, 9), "trusted.a", "b", 1);
    ok(ot_store(&table, 0, aliases, 3, &packed, &length) == 0, "packed");
    ot_init(&again, 7);
    ok(ot_load(&again, 0, packed, length) == 0 && again.count == 4, "read: no dead ones, no foreign ones, the aliases");
    at = ot_find(&again, 0, 9);
    ok(at != NULL && ot_rdev_major(at->rdev) == 4095 && ot_rdev_minor(at->rdev) == 1048575, "device numbers");
    ok(at != NULL && ot_xattr_get(&again, at, "trusted.a", &second_length) != NULL, "attributes");
    ok(ot_find(&again, 0, 101) != NULL && ot_find(&again, 0, 101)->uid == 5, "an alias");
    ok(ot_find(&again, 0, 3)->flags == OT_LINKED, "several names");
    ok(ot_store(&table, foreign.dev, NULL, 0, &twice, &second_length) == 0 &&
           ot_load(&again, ot_device(&again, 13, true), twice, second_length) == 0 && again.count == 5 &&
           ot_find(&again, 1, 6)->uid == 5 && ot_find(&again, 0, 6) == NULL,
       "another file system's records, by themselves");
    free(twice);
    ok(ot_store(&again, 0, NULL, 0, &twice, &second_length) == 0 && second_length == length &&
           memcmp(packed, twice, length) == 0,
       "packed again: the same bytes");
    ot_free(&again);
    bytes = packed;
    for (size_t cut = 0; cut < length; cut++) { /* every shorter one; copied, so that a read beyond it is seen */
        unsigned char *copy = malloc(cut + 1);

        memcpy(copy, bytes, cut);
        ot_init(&again, 7);
        refused = refused && (cut == 0 || ot_load(&again, 0, copy, cut) == -EINVAL);
        ot_free(&again);
        free(copy);
    }
    ok(refused, "whatever is cut off is refused");
    for (size_t at_byte = 0; at_byte < length; at_byte++) {
        unsigned char kept = bytes[at_byte];

        bytes[at_byte] ^= 0xff;
        ot_init(&again, 7);
        ot_load(&again, 0, bytes, length);
        ot_free(&again);
        bytes[at_byte] = kept;
    }
    ok(1, "any byte may be wrong");
    ot_free(&table);
    free(packed);
    free(twice);
}

int main(void)
{
    test_many();
    test_model();
    test_counts();
    test_xattrs();
    test_two_numbers();
    test_packed();
    printf("1..%d\n", number);
    return failed != 0;
}
