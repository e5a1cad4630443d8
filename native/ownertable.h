/* The owner table: what the image says of an inode where the disk cannot (owner, mode, device number, xattrs).
 *
 *   index: u32 slot -> entry + 1 (open addressing, linear probing)      entries: dense array, 32 bytes each
 *   An inode that has no entry is seen as 0:0 with the disk's mode.
 *
 * Cost: 32 bytes an entry (grown by a half) and 4 bytes a slot (load 3/8 to 3/4): at most 59 bytes for each entry.
 * One owner, no locks: the supervisor's loop is the only one that changes it; others may read it (fr_shared.h).
 *
 * Packed form (little endian), the same for the initial and the final table:
 *   header  "FRT1", u32 reserved = 0, u64 count
 *   record  u64 ino, u32 mode, u32 uid, u32 gid, u32 rdev_major, u32 rdev_minor, u32 links, u32 bytes of xattrs that follow
 *   xattr   u16 name length, u32 value length, name, value
 */
#ifndef IECHOR_OWNERTABLE_H
#define IECHOR_OWNERTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OT_DEAD 1U   /* its last name is gone; only open files still show it */
#define OT_LINKED 2U /* several names in a lower layer: a copy-up gives it another inode number */
#define OT_UPPER 4U  /* known to lie in the overlay's upper directory, under all numbers that it may show */
#define OT_MARKED 16U /* its file capabilities are there as long as the disk has the mark (fr_upper.c) */
#define OT_HELD 32U  /* new to the table: who did not find it there may still change the disk's mode (fr_watch) */
#define OT_ALIAS 8U  /* no record: another number of the inode whose number uid (low half) and gid hold */

#define OT_HEADER_SIZE 16
#define OT_RECORD_SIZE 36
#define OT_XATTR_NAME_MAX 255
#define OT_XATTR_VALUE_MAX 65536
#define OT_XATTR_LIST_MAX (1U << 20) /* of one inode, as an image may have them */

struct ot_entry {
    uint64_t ino;
    uint32_t uid;
    uint32_t gid;
    uint32_t rdev;   /* kernel's 12:20 form, as in a 32-bit st_rdev */
    uint32_t xattrs; /* index + 1 into the table's list, 0 = none */
    uint16_t mode;   /* full st_mode as the image sees it */
    uint16_t dev;    /* index of the file system, 0 = the image's */
    uint32_t flags;
};

struct ot_xattrs; /* one packed list */
struct ot_shared; /* fr_shared.h */

struct ot_table {
    struct ot_entry *entries;
    uint32_t *slots;
    size_t count, capacity;
    size_t slot_count; /* power of two */
    struct ot_xattrs **xattrs;
    size_t xattr_count, xattr_capacity;
    uint64_t *devs;
    size_t dev_count;
    size_t sgid_dirs; /* set-gid folders whose group is not 0: creation in them must be looked at */
    size_t devices;   /* entries of device nodes, which are plain files on disk */
    size_t linked;    /* entries with OT_LINKED */
    size_t dead;      /* entries with OT_DEAD */
    struct ot_shared *shared; /* holds entries and slots when they are shared, else NULL */
    unsigned changing;        /* how many changes are under way, one within another */
};

static inline uint64_t ot_hash(int dev, uint64_t ino)
{
    uint64_t key = ino ^ ((uint64_t)(unsigned)dev << 48);

    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdULL;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53ULL;
    return key ^ (key >> 33);
}

/* All return 0 or -errno, unless said otherwise. */
int ot_init(struct ot_table *table, uint64_t image_dev);
void ot_free(struct ot_table *table);
/* Bytes of memory that entries and slots take. */
size_t ot_bytes(const struct ot_table *table);

/* --- ot_share.c --- */
/* From now on the table lies in this region of SHARED_SIZE zeroed bytes, which stays the caller's. -ENOSPC: too large. */
int ot_share(struct ot_table *table, struct ot_shared *shared);
/* Closes the region and moves the table out of it. */
int ot_unshare(struct ot_table *table);
/* Around every change of what readers see. */
void ot_begin_change(struct ot_table *table);
void ot_end_change(struct ot_table *table);

/* Index of a file system, made when it is new; -1 when there are too many of them. */
int ot_device(struct ot_table *table, uint64_t dev, bool make);

/* NULL when there is none. The pointer is good until the next ot_put or ot_remove. */
struct ot_entry *ot_find(struct ot_table *table, int dev, uint64_t ino);

/* Insert or replace ino's plain fields and flags; xattrs are kept (a new entry has none). */
int ot_put(struct ot_table *table, const struct ot_entry *entry);
/* From now on `also` is the same inode as ino (of the image's file system), whether ino has a record or not:
 * ot_find and ot_put take it for ino, ot_store writes the record under both. ot_remove of `also` undoes that. */
int ot_also(struct ot_table *table, uint64_t ino, uint64_t also);
void ot_remove(struct ot_table *table, int dev, uint64_t ino);
void ot_drop_dead(struct ot_table *table);

/* xattrs of an entry: get gives a pointer into the table, NULL when there is none. */
const void *ot_xattr_get(const struct ot_table *table, const struct ot_entry *entry, const char *name, size_t *length);
int ot_xattr_set(struct ot_table *table, struct ot_entry *entry, const char *name, const void *value, size_t length);
int ot_xattr_remove(struct ot_table *table, struct ot_entry *entry, const char *name); /* -ENODATA */
int ot_xattr_copy(struct ot_table *table, const struct ot_entry *from, struct ot_entry *to);
/* Names, each with its NUL, into buffer (may be NULL); returns the bytes they need. */
size_t ot_xattr_names(const struct ot_table *table, const struct ot_entry *entry, char *buffer, size_t room);

/* Packed form in, of inodes of the file system with index dev: -EINVAL when it is not well formed (nothing is kept of
 * it then but what came before). */
int ot_load(struct ot_table *table, int dev, const void *data, size_t length);

/* Packed form out, sorted by inode: the entries of one file system, no dead ones. aliases (may be NULL) gives further
 * numbers under which an entry is written too, sorted by `from`. *out is malloc'ed. */
struct ot_alias {
    uint64_t from, to;
};
int ot_store(const struct ot_table *table, int dev, const struct ot_alias *aliases, size_t alias_count, void **out,
             size_t *length);

static inline uint32_t ot_rdev_major(uint32_t rdev) { return (rdev & 0xfff00U) >> 8; }
static inline uint32_t ot_rdev_minor(uint32_t rdev) { return (rdev & 0xffU) | ((rdev >> 12) & 0xfff00U); }
static inline uint32_t ot_rdev_make(uint32_t major, uint32_t minor)
{
    return (minor & 0xffU) | ((major & 0xfffU) << 8) | ((minor & 0xfff00U) << 12);
}

#endif
