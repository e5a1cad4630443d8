/* The owner table in a region that others read: see fr_shared.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fr_shared.h"

void ot_begin_change(struct ot_table *table)
{
    struct ot_shared *shared = table->shared;

    if (table->changing++ != 0 || shared == NULL)
        return;
    __atomic_store_n(&shared->seq, shared->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* What readers need besides entries and slots. */
static void publish(struct ot_table *table)
{
    struct ot_shared *shared = table->shared;

    shared->slot_mask = (uint32_t)(table->slot_count - 1);
    shared->count = (uint32_t)table->count;
    shared->dev_count = (uint32_t)table->dev_count;
    for (size_t i = 0; i < table->dev_count && i < SHARED_DEVS; i++)
        shared->devs[i] = table->devs[i];
}

void ot_end_change(struct ot_table *table)
{
    struct ot_shared *shared = table->shared;

    if (--table->changing != 0 || shared == NULL)
        return;
    publish(table);
    __atomic_store_n(&shared->seq, shared->seq + 1, __ATOMIC_RELEASE);
}

int ot_share(struct ot_table *table, struct ot_shared *shared)
{
    if (table->count > SHARED_ENTRIES || table->slot_count > SHARED_SLOTS)
        return -ENOSPC;
    if (table->count != 0)
        memcpy(ot_shared_entries(shared), table->entries, table->count * sizeof *table->entries);
    memcpy(ot_shared_slots(shared), table->slots, table->slot_count * sizeof *table->slots);
    free(table->entries);
    free(table->slots);
    table->entries = ot_shared_entries(shared);
    table->slots = ot_shared_slots(shared);
    table->capacity = SHARED_ENTRIES;
    table->shared = shared;
    publish(table);
    __atomic_store_n(&shared->open, 1, __ATOMIC_RELEASE);
    return 0;
}

int ot_unshare(struct ot_table *table)
{
    struct ot_entry *entries;
    uint32_t *slots;

    if (table->shared == NULL)
        return 0;
    entries = malloc((table->count + 1) * sizeof *entries);
    slots = malloc(table->slot_count * sizeof *slots);
    if (entries == NULL || slots == NULL) {
        free(entries);
        free(slots);
        return -ENOMEM;
    }
    __atomic_store_n(&table->shared->open, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&table->shared->seq, (table->shared->seq | 1) + 1, __ATOMIC_RELEASE); /* a change may be under way */
    memcpy(entries, table->entries, table->count * sizeof *entries);
    memcpy(slots, table->slots, table->slot_count * sizeof *slots);
    table->entries = entries;
    table->slots = slots;
    table->capacity = table->count + 1;
    table->shared = NULL;
    return 0;
}
