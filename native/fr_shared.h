/* What the supervisor and the preloaded view (shim.c) share: the mark of a call that the filter lets pass, and the
 * owner table, which the view may read while the supervisor changes it.
 *
 *   header (one page)   slots: u32 each, SHARED_SLOTS     entries: struct ot_entry, SHARED_ENTRIES
 *
 * seq is odd while the table is being changed: who reads looks at it before and after. Every field that a reader takes
 * for an index is compared with these sizes first. A table that outgrows them is closed, and nobody reads it any more.
 */
#ifndef IECHOR_FR_SHARED_H
#define IECHOR_FR_SHARED_H

#include "ownertable.h"

#define FR_MARKED 0x6965636872766577ULL /* the sixth argument of a marked call */

#define SHARED_SLOTS (1U << 21)
#define SHARED_ENTRIES (1U << 20)
#define SHARED_DEVS 64
#define SHARED_LISTS 64 /* descriptors below this one carry the view into a program */
#define SHARED_PAGE 65536U /* the largest page of the machines that we know */
#define SHARED_SLOTS_AT SHARED_PAGE
#define SHARED_ENTRIES_AT (SHARED_SLOTS_AT + SHARED_SLOTS * sizeof(uint32_t))
#define SHARED_SIZE (SHARED_ENTRIES_AT + SHARED_ENTRIES * sizeof(struct ot_entry))
#define SHARED_VADDR 0x200000U /* where it lies in the view's own image */

struct ot_shared {
    uint32_t open; /* 0: not to be read */
    uint32_t seq;
    uint32_t slot_mask;
    uint32_t count;
    uint32_t dev_count;
    uint32_t cred_epoch;   /* counts the changes of any process's credentials */
    uint32_t default_acls;
    uint32_t mends;        /* files that their owner may not read are mended at the end, on the first device */
    uint64_t devs[SHARED_DEVS];
    uint64_t lent_dev, lent_ino;    /* the file that holds the view and this table */
    uint64_t list_inos[SHARED_LISTS]; /* [n]: the file that names descriptor n to ld.so; same device */
};

static inline uint32_t *ot_shared_slots(struct ot_shared *shared)
{
    return (uint32_t *)(void *)((char *)shared + SHARED_SLOTS_AT);
}

static inline struct ot_entry *ot_shared_entries(struct ot_shared *shared)
{
    return (struct ot_entry *)(void *)((char *)shared + SHARED_ENTRIES_AT);
}

#endif
