/* A look into the owner table while the supervisor changes it; part of shim.c and shim_acts.c, tested alone in tests/test_view.c. */
#ifndef IECHOR_VIEW_LOOK_H
#define IECHOR_VIEW_LOOK_H

#include <stdint.h>

#include "fr_shared.h"

#define TRIES 3
#define S_FMT 0170000U
#define S_REG 0100000U
#define S_CHAR 0020000U
#define S_BLOCK 0060000U

/* NULL: not lent by a supervisor */
extern struct ot_shared *table __attribute__((visibility("hidden")));

enum found { NO_RECORD, RECORD, ASK };

static inline enum found find(int dev, uint64_t ino, struct ot_entry *out)
{
    uint32_t mask = __atomic_load_n(&table->slot_mask, __ATOMIC_RELAXED);
    const uint32_t *slots = ot_shared_slots(table);
    uint32_t at = (uint32_t)ot_hash(dev, ino) & mask;

    if (mask >= SHARED_SLOTS)
        return ASK;
    for (uint32_t steps = 0; steps <= mask; steps++, at = (at + 1) & mask) {
        uint32_t slot = __atomic_load_n(&slots[at], __ATOMIC_RELAXED);

        if (slot == 0)
            return NO_RECORD;
        if (slot > SHARED_ENTRIES)
            return ASK;
        *out = *(const volatile struct ot_entry *)&ot_shared_entries(table)[slot - 1];
        if (out->ino == ino && out->dev == dev)
            return RECORD;
    }
    return ASK;
}

static inline enum found find_file(uint64_t dev, uint64_t ino, struct ot_entry *out)
{
    uint32_t count = __atomic_load_n(&table->dev_count, __ATOMIC_RELAXED);
    enum found found;

    for (uint32_t i = 0; i < count; i++) {
        if (i == SHARED_DEVS)
            return ASK;
        if (__atomic_load_n(&table->devs[i], __ATOMIC_RELAXED) != dev)
            continue;
        found = find((int)i, ino, out);
        if (found == RECORD && (out->flags & OT_ALIAS)) {
            found = find((int)i, out->uid | ((uint64_t)out->gid << 32), out);
            if (found == RECORD && (out->flags & OT_ALIAS))
                found = NO_RECORD;
        }
        return found;
    }
    return NO_RECORD;
}

static inline enum found look(uint64_t dev, uint64_t ino, uint64_t links, uint32_t mode, struct ot_entry *out)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t seq = __atomic_load_n(&table->seq, __ATOMIC_ACQUIRE), kind;
        enum found found;

        if ((seq & 1) || !__atomic_load_n(&table->open, __ATOMIC_ACQUIRE))
            return ASK;
        found = find_file(dev, ino, out);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&table->seq, __ATOMIC_RELAXED) != seq)
            continue;
        if (found != RECORD)
            return found;
        kind = out->mode & S_FMT; /* a number that was used again is the supervisor's to find out */
        if ((out->flags & OT_DEAD) && links > 0)
            return ASK;
        if ((out->flags & OT_HELD) && ((out->mode ^ mode) & 01777)) /* perhaps only what the disk has instead */
            return ASK;
        if (kind == (mode & S_FMT) || ((kind == S_CHAR || kind == S_BLOCK) && (mode & S_FMT) == S_REG))
            return RECORD;
        return ASK;
    }
    return ASK;
}

#endif
