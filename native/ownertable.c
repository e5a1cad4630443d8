/* The owner table: see ownertable.h. No Python, no supervisor: tested alone in tests/test_ownertable.c. */
#include "ownertable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fr_shared.h"

#define FIRST_SLOTS 64U
#define S_FMT 0170000U
#define S_DIR 0040000U
#define S_CHAR 0020000U
#define S_BLOCK 0060000U
#define S_SGID 02000U

/* A packed list: for each xattr u16 name length, u32 value length, name, value; as in the packed table. */
struct ot_xattrs {
    size_t length;
    unsigned char bytes[];
};

static void put16(unsigned char *at, uint16_t value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
}

static void put32(unsigned char *at, uint32_t value)
{
    put16(at, (uint16_t)value);
    put16(at + 2, (uint16_t)(value >> 16));
}

static void put64(unsigned char *at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static uint16_t get16(const unsigned char *at) { return (uint16_t)(at[0] | (at[1] << 8)); }
static uint32_t get32(const unsigned char *at) { return get16(at) | ((uint32_t)get16(at + 2) << 16); }
static uint64_t get64(const unsigned char *at) { return get32(at) | ((uint64_t)get32(at + 4) << 32); }

int ot_init(struct ot_table *table, uint64_t image_dev)
{
    memset(table, 0, sizeof *table);
    table->slots = calloc(FIRST_SLOTS, sizeof *table->slots);
    table->devs = malloc(sizeof *table->devs);
    if (table->slots == NULL || table->devs == NULL) {
        ot_free(table);
        return -ENOMEM;
    }
    table->slot_count = FIRST_SLOTS;
    table->devs[0] = image_dev;
    table->dev_count = 1;
    return 0;
}

void ot_free(struct ot_table *table)
{
    for (size_t i = 0; i < table->xattr_count; i++)
        free(table->xattrs[i]);
    free(table->xattrs);
    if (table->shared == NULL) {
        free(table->entries);
        free(table->slots);
    }
    free(table->devs);
    memset(table, 0, sizeof *table);
}

int ot_device(struct ot_table *table, uint64_t dev, bool make)
{
    uint64_t *grown;

    for (size_t i = 0; i < table->dev_count; i++)
        if (table->devs[i] == dev)
            return (int)i;
    if (!make || table->dev_count >= 4096)
        return -1;
    grown = realloc(table->devs, (table->dev_count + 1) * sizeof *grown);
    if (grown == NULL)
        return -1;
    table->devs = grown;
    ot_begin_change(table);
    table->devs[table->dev_count++] = dev;
    ot_end_change(table);
    return (int)table->dev_count - 1;
}

size_t ot_bytes(const struct ot_table *table)
{
    size_t entries = table->shared == NULL ? table->capacity : (table->count + 127) / 128 * 128; /* pages touched */

    return entries * sizeof *table->entries + table->slot_count * sizeof *table->slots;
}

/* The slot that holds (dev, ino), or the empty one where it would go. */
static size_t slot_of(const struct ot_table *table, int dev, uint64_t ino)
{
    size_t mask = table->slot_count - 1;
    size_t at = (size_t)ot_hash(dev, ino) & mask;

    while (table->slots[at] != 0) {
        const struct ot_entry *entry = &table->entries[table->slots[at] - 1];

        if (entry->ino == ino && entry->dev == dev)
            break;
        at = (at + 1) & mask;
    }
    return at;
}

/* What is kept under this very number, be it an alias. */
static struct ot_entry *find_exactly(const struct ot_table *table, int dev, uint64_t ino)
{
    size_t at;

    if (table->count == 0 || dev < 0)
        return NULL;
    at = slot_of(table, dev, ino);
    return table->slots[at] != 0 ? &table->entries[table->slots[at] - 1] : NULL;
}

static uint64_t alias_of(const struct ot_entry *entry) { return entry->uid | ((uint64_t)entry->gid << 32); }

struct ot_entry *ot_find(struct ot_table *table, int dev, uint64_t ino)
{
    struct ot_entry *entry = find_exactly(table, dev, ino);

    if (entry != NULL && (entry->flags & OT_ALIAS))
        entry = find_exactly(table, dev, alias_of(entry));
    return entry != NULL && !(entry->flags & OT_ALIAS) ? entry : NULL;
}

static int grow_slots(struct ot_table *table)
{
    uint32_t *old = table->slots;
    uint32_t *slots;

    if (table->shared != NULL && table->slot_count * 2 > SHARED_SLOTS) {
        int rc = ot_unshare(table);

        if (rc < 0)
            return rc;
        old = table->slots;
    }
    if (table->shared != NULL) { /* in its place: nobody reads it while it changes */
        slots = old;
        memset(slots, 0, table->slot_count * 2 * sizeof *slots);
        old = NULL;
    } else {
        slots = calloc(table->slot_count * 2, sizeof *slots);
        if (slots == NULL)
            return -ENOMEM;
    }
    table->slots = slots;
    table->slot_count *= 2;
    for (size_t i = 0; i < table->count; i++)
        slots[slot_of(table, table->entries[i].dev, table->entries[i].ino)] = (uint32_t)(i + 1);
    free(old);
    return 0;
}

static int grow_entries(struct ot_table *table)
{
    size_t capacity = table->capacity + table->capacity / 2 + 32;
    struct ot_entry *entries;

    if (capacity >= UINT32_MAX || (table->shared != NULL && ot_unshare(table) < 0))
        return -ENOMEM;
    entries = realloc(table->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return -ENOMEM;
    table->entries = entries;
    table->capacity = capacity;
    return 0;
}

/* Counters of entries that creation, copy-up and clean-up ask for. */
static void count_entry(struct ot_table *table, const struct ot_entry *entry, bool in)
{
    size_t one = in ? 1 : (size_t)-1;

    if ((entry->mode & S_FMT) == S_DIR && (entry->mode & S_SGID) && entry->gid != 0)
        table->sgid_dirs += one;
    if ((entry->mode & S_FMT) == S_CHAR || (entry->mode & S_FMT) == S_BLOCK)
        table->devices += one;
    if (entry->flags & OT_LINKED)
        table->linked += one;
    if (entry->flags & OT_DEAD)
        table->dead += one;
}

static int make_room(struct ot_table *table)
{
    int rc = table->count == table->capacity ? grow_entries(table) : 0;

    return rc == 0 && (table->count + 1) * 4 > table->slot_count * 3 ? grow_slots(table) : rc;
}

static int put_exactly(struct ot_table *table, const struct ot_entry *entry)
{
    struct ot_entry *place = find_exactly(table, entry->dev, entry->ino);
    uint32_t xattrs;
    int rc;

    ot_begin_change(table);
    if (place == NULL) {
        rc = make_room(table);
        if (rc < 0) {
            ot_end_change(table);
            return rc;
        }
        place = &table->entries[table->count];
        memset(place, 0, sizeof *place);
        table->slots[slot_of(table, entry->dev, entry->ino)] = (uint32_t)(table->count + 1);
        table->count++;
    } else {
        count_entry(table, place, false);
    }
    xattrs = place->xattrs;
    *place = *entry;
    place->xattrs = xattrs;
    count_entry(table, place, true);
    ot_end_change(table);
    return 0;
}

int ot_put(struct ot_table *table, const struct ot_entry *entry)
{
    const struct ot_entry *alias = find_exactly(table, entry->dev, entry->ino);
    struct ot_entry first;

    if (alias == NULL || !(alias->flags & OT_ALIAS))
        return put_exactly(table, entry);
    first = *entry;
    first.ino = alias_of(alias);
    return put_exactly(table, &first);
}

int ot_also(struct ot_table *table, uint64_t ino, uint64_t also)
{
    const struct ot_entry *known = find_exactly(table, 0, ino);
    struct ot_entry alias = {.ino = also, .flags = OT_ALIAS};
    int rc;

    if (known != NULL && (known->flags & OT_ALIAS))
        ino = alias_of(known);
    if (ino == also)
        return 0;
    alias.uid = (uint32_t)ino;
    alias.gid = (uint32_t)(ino >> 32);
    ot_begin_change(table);
    ot_remove(table, 0, also); /* a record left by an inode that had the number before */
    rc = put_exactly(table, &alias);
    ot_end_change(table);
    return rc;
}

static void drop_xattrs(struct ot_table *table, struct ot_entry *entry)
{
    if (entry->xattrs != 0) {
        free(table->xattrs[entry->xattrs - 1]);
        table->xattrs[entry->xattrs - 1] = NULL;
        entry->xattrs = 0;
    }
}

void ot_remove(struct ot_table *table, int dev, uint64_t ino)
{
    struct ot_entry *entry = find_exactly(table, dev, ino);
    size_t mask = table->slot_count - 1;
    size_t hole, at, index;

    if (entry == NULL)
        return;
    hole = slot_of(table, dev, ino);
    index = table->slots[hole] - 1;
    ot_begin_change(table);
    count_entry(table, entry, false);
    drop_xattrs(table, entry);
    /* close the gap in the probe chain (Knuth 6.4, algorithm R) */
    table->slots[hole] = 0;
    for (at = (hole + 1) & mask; table->slots[at] != 0; at = (at + 1) & mask) {
        const struct ot_entry *moved = &table->entries[table->slots[at] - 1];
        size_t home = (size_t)ot_hash(moved->dev, moved->ino) & mask;

        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            table->slots[at] = 0;
            hole = at;
        }
    }
    /* keep the entries dense */
    table->count--;
    if (index != table->count) {
        const struct ot_entry *last = &table->entries[table->count];

        table->slots[slot_of(table, last->dev, last->ino)] = (uint32_t)(index + 1);
        table->entries[index] = *last;
    }
    ot_end_change(table);
}

void ot_drop_dead(struct ot_table *table)
{
    for (size_t i = table->count; i > 0; i--)
        if (table->entries[i - 1].flags & OT_DEAD)
            ot_remove(table, table->entries[i - 1].dev, table->entries[i - 1].ino);
}

/* --- xattrs --- */

static const struct ot_xattrs *list_of(const struct ot_table *table, const struct ot_entry *entry)
{
    return entry->xattrs != 0 ? table->xattrs[entry->xattrs - 1] : NULL;
}

/* One packed xattr at `at`; returns the offset after it, 0 when it does not fit into length. */
static size_t read_xattr(const unsigned char *bytes, size_t length, size_t at, const unsigned char **name,
                         size_t *name_length, const unsigned char **value, size_t *value_length)
{
    if (length - at < 6)
        return 0;
    *name_length = get16(bytes + at);
    *value_length = get32(bytes + at + 2);
    at += 6;
    if (*name_length == 0 || *name_length > OT_XATTR_NAME_MAX || *value_length > OT_XATTR_VALUE_MAX ||
        length - at < *name_length || length - at - *name_length < *value_length)
        return 0;
    *name = bytes + at;
    *value = bytes + at + *name_length;
    return at + *name_length + *value_length;
}

const void *ot_xattr_get(const struct ot_table *table, const struct ot_entry *entry, const char *name, size_t *length)
{
    const struct ot_xattrs *list = list_of(table, entry);
    const unsigned char *found, *value;
    size_t at = 0, next, found_length;

    while (list != NULL && at < list->length) {
        next = read_xattr(list->bytes, list->length, at, &found, &found_length, &value, length);
        if (next == 0)
            return NULL;
        if (found_length == strlen(name) && memcmp(found, name, found_length) == 0)
            return value;
        at = next;
    }
    return NULL;
}

/* A place for a new list; returns index + 1, 0 when memory is out. */
static uint32_t hold_xattrs(struct ot_table *table, struct ot_xattrs *list)
{
    struct ot_xattrs **grown;

    for (size_t i = table->xattr_count; i > 0 && table->xattr_count - i < 16; i--)
        if (table->xattrs[i - 1] == NULL) {
            table->xattrs[i - 1] = list;
            return (uint32_t)i;
        }
    if (table->xattr_count == table->xattr_capacity) {
        size_t capacity = table->xattr_capacity * 2 + 8;

        if (capacity >= UINT32_MAX || (grown = realloc(table->xattrs, capacity * sizeof *grown)) == NULL)
            return 0;
        table->xattrs = grown;
        table->xattr_capacity = capacity;
    }
    table->xattrs[table->xattr_count] = list;
    return (uint32_t)++table->xattr_count;
}

/* The list without `name`, with room for `extra` more bytes. NULL when memory is out. */
static struct ot_xattrs *without(const struct ot_xattrs *list, const char *name, size_t extra)
{
    struct ot_xattrs *fresh = malloc(sizeof *fresh + (list != NULL ? list->length : 0) + extra);
    const unsigned char *found, *value;
    size_t at = 0, next, found_length, value_length;

    if (fresh == NULL)
        return NULL;
    fresh->length = 0;
    while (list != NULL && at < list->length) {
        next = read_xattr(list->bytes, list->length, at, &found, &found_length, &value, &value_length);
        if (next == 0)
            break;
        if (found_length != strlen(name) || memcmp(found, name, found_length) != 0) {
            memcpy(fresh->bytes + fresh->length, list->bytes + at, next - at);
            fresh->length += next - at;
        }
        at = next;
    }
    return fresh;
}

static int replace_list(struct ot_table *table, struct ot_entry *entry, struct ot_xattrs *fresh)
{
    uint32_t place = 0;

    if (fresh->length == 0) {
        free(fresh);
    } else if (entry->xattrs != 0) {
        free(table->xattrs[entry->xattrs - 1]);
        table->xattrs[entry->xattrs - 1] = fresh;
        return 0;
    } else if ((place = hold_xattrs(table, fresh)) == 0) {
        free(fresh);
        return -ENOMEM;
    }
    drop_xattrs(table, entry);
    entry->xattrs = place;
    return 0;
}

int ot_xattr_set(struct ot_table *table, struct ot_entry *entry, const char *name, const void *value, size_t length)
{
    size_t name_length = strlen(name);
    struct ot_xattrs *fresh;
    unsigned char *end;

    if (name_length == 0 || name_length > OT_XATTR_NAME_MAX || length > OT_XATTR_VALUE_MAX)
        return -ERANGE;
    fresh = without(list_of(table, entry), name, 6 + name_length + length);
    if (fresh == NULL)
        return -ENOMEM;
    if (fresh->length + 6 + name_length + length > OT_XATTR_VALUE_MAX) {
        free(fresh);
        return -ENOSPC;
    }
    end = fresh->bytes + fresh->length;
    put16(end, (uint16_t)name_length);
    put32(end + 2, (uint32_t)length);
    memcpy(end + 6, name, name_length);
    if (length != 0)
        memcpy(end + 6 + name_length, value, length);
    fresh->length += 6 + name_length + length;
    return replace_list(table, entry, fresh);
}

int ot_xattr_remove(struct ot_table *table, struct ot_entry *entry, const char *name)
{
    struct ot_xattrs *fresh;
    size_t length;

    if (ot_xattr_get(table, entry, name, &length) == NULL)
        return -ENODATA;
    fresh = without(list_of(table, entry), name, 0);
    return fresh != NULL ? replace_list(table, entry, fresh) : -ENOMEM;
}

int ot_xattr_copy(struct ot_table *table, const struct ot_entry *from, struct ot_entry *to)
{
    const struct ot_xattrs *list = list_of(table, from);
    struct ot_xattrs *fresh;

    if (list == NULL) {
        drop_xattrs(table, to);
        return 0;
    }
    fresh = without(list, "", 0);
    return fresh != NULL ? replace_list(table, to, fresh) : -ENOMEM;
}

size_t ot_xattr_names(const struct ot_table *table, const struct ot_entry *entry, char *buffer, size_t room)
{
    const struct ot_xattrs *list = list_of(table, entry);
    const unsigned char *name, *value;
    size_t at = 0, next, need = 0, name_length, value_length;

    while (list != NULL && at < list->length) {
        next = read_xattr(list->bytes, list->length, at, &name, &name_length, &value, &value_length);
        if (next == 0)
            break;
        if (buffer != NULL && need + name_length + 1 <= room) {
            memcpy(buffer + need, name, name_length);
            buffer[need + name_length] = 0;
        }
        need += name_length + 1;
        at = next;
    }
    return need;
}

/* --- packed form --- */

/* Is this a well-formed list, its names free of NUL? */
static bool list_is_sound(const unsigned char *bytes, size_t length)
{
    const unsigned char *name, *value;
    size_t at = 0, name_length, value_length;

    while (at < length) {
        at = read_xattr(bytes, length, at, &name, &name_length, &value, &value_length);
        if (at == 0 || memchr(name, 0, name_length) != NULL)
            return false;
    }
    return true;
}

static int load_record(struct ot_table *table, int dev, const unsigned char *at, const unsigned char *xattrs,
                       size_t length)
{
    uint32_t mode = get32(at + 8), major = get32(at + 20), minor = get32(at + 24);
    struct ot_entry entry = {
        .ino = get64(at),
        .mode = (uint16_t)mode,
        .uid = get32(at + 12),
        .gid = get32(at + 16),
        .rdev = ot_rdev_make(major, minor),
        .dev = (uint16_t)dev,
        .flags = get32(at + 28) > 1 && (mode & S_FMT) != S_DIR ? OT_LINKED : 0,
    };
    struct ot_xattrs *list;
    int rc;

    if (mode > UINT16_MAX || major > 0xfff || minor > 0xfffff || length > OT_XATTR_LIST_MAX ||
        !list_is_sound(xattrs, length))
        return -EINVAL;
    rc = ot_put(table, &entry);
    if (rc < 0 || length == 0)
        return rc;
    list = malloc(sizeof *list + length);
    if (list == NULL)
        return -ENOMEM;
    list->length = length;
    memcpy(list->bytes, xattrs, length);
    return replace_list(table, ot_find(table, dev, entry.ino), list);
}

int ot_load(struct ot_table *table, int dev, const void *data, size_t length)
{
    const unsigned char *at = data;
    uint64_t count;
    int rc;

    if (length == 0)
        return 0;
    if (length < OT_HEADER_SIZE || memcmp(at, "FRT1", 4) != 0 || get32(at + 4) != 0)
        return -EINVAL;
    count = get64(at + 8);
    at += OT_HEADER_SIZE;
    length -= OT_HEADER_SIZE;
    for (; count > 0; count--) {
        size_t extra;

        if (length < OT_RECORD_SIZE)
            return -EINVAL;
        extra = get32(at + 32);
        length -= OT_RECORD_SIZE;
        if (extra > length)
            return -EINVAL;
        rc = load_record(table, dev, at, at + OT_RECORD_SIZE, extra);
        if (rc < 0)
            return rc;
        at += OT_RECORD_SIZE + extra;
        length -= extra;
    }
    return length == 0 ? 0 : -EINVAL;
}

struct numbered {
    uint64_t ino;
    uint32_t entry;
};

static int by_ino(const void *left, const void *right)
{
    const struct numbered *a = left, *b = right;

    return (a->ino > b->ino) - (a->ino < b->ino);
}

static int by_from(const void *key, const void *item)
{
    const uint64_t *ino = key;
    const struct ot_alias *alias = item;

    return (*ino > alias->from) - (*ino < alias->from);
}

static const struct ot_alias *first_alias(const struct ot_alias *aliases, size_t count, uint64_t ino)
{
    const struct ot_alias *found = count != 0 ? bsearch(&ino, aliases, count, sizeof *aliases, by_from) : NULL;

    while (found != NULL && found > aliases && found[-1].from == ino)
        found--;
    return found;
}

/* Which entries are written, under which numbers. Returns how many; fills list when it is not NULL. */
static size_t number_entries(const struct ot_table *table, int dev, const struct ot_alias *aliases, size_t alias_count,
                             struct numbered *list)
{
    size_t n = 0;

    for (size_t i = 0; i < table->count; i++) {
        const struct ot_entry *entry = &table->entries[i];
        uint64_t ino = entry->ino;
        const struct ot_alias *alias;

        if (entry->flags & OT_ALIAS)
            entry = find_exactly(table, 0, alias_of(entry));
        if (entry == NULL || entry->dev != dev || (entry->flags & (OT_DEAD | OT_ALIAS)))
            continue;
        if (list != NULL)
            list[n] = (struct numbered){ino, (uint32_t)(entry - table->entries)};
        n++;
        alias = first_alias(aliases, alias_count, ino);
        for (; alias != NULL && alias < aliases + alias_count && alias->from == ino; alias++) {
            if (list != NULL)
                list[n] = (struct numbered){alias->to, (uint32_t)(entry - table->entries)};
            n++;
        }
    }
    return n;
}

/* Sorts by number, each of them once. Returns how many are left. */
static size_t sort_numbers(struct numbered *list, size_t count)
{
    size_t n = 0;

    qsort(list, count, sizeof *list, by_ino);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || list[n - 1].ino != list[i].ino)
            list[n++] = list[i];
    return n;
}

static unsigned char *store_record(const struct ot_table *table, const struct ot_entry *entry, uint64_t ino,
                                   unsigned char *at)
{
    const struct ot_xattrs *list = list_of(table, entry);
    size_t extra = list != NULL ? list->length : 0;

    put64(at, ino);
    put32(at + 8, entry->mode);
    put32(at + 12, entry->uid);
    put32(at + 16, entry->gid);
    put32(at + 20, ot_rdev_major(entry->rdev));
    put32(at + 24, ot_rdev_minor(entry->rdev));
    put32(at + 28, entry->flags & OT_LINKED ? 2 : 1);
    put32(at + 32, (uint32_t)extra);
    if (extra != 0)
        memcpy(at + OT_RECORD_SIZE, list->bytes, extra);
    return at + OT_RECORD_SIZE + extra;
}

int ot_store(const struct ot_table *table, int dev, const struct ot_alias *aliases, size_t alias_count, void **out,
             size_t *length)
{
    size_t count = number_entries(table, dev, aliases, alias_count, NULL);
    struct numbered *list = calloc(count + 1, sizeof *list);
    unsigned char *bytes, *at;
    size_t size = OT_HEADER_SIZE;

    if (list == NULL)
        return -ENOMEM;
    number_entries(table, dev, aliases, alias_count, list);
    count = sort_numbers(list, count);
    for (size_t i = 0; i < count; i++) {
        const struct ot_xattrs *xattrs = list_of(table, &table->entries[list[i].entry]);

        size += OT_RECORD_SIZE + (xattrs != NULL ? xattrs->length : 0);
    }
    bytes = malloc(size);
    if (bytes == NULL) {
        free(list);
        return -ENOMEM;
    }
    memcpy(bytes, "FRT1\0\0\0\0", 8);
    put64(bytes + 8, count);
    at = bytes + OT_HEADER_SIZE;
    for (size_t i = 0; i < count; i++)
        at = store_record(table, &table->entries[list[i].entry], list[i].ino, at);
    free(list);
    *out = bytes;
    *length = size;
    return 0;
}
