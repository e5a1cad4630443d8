/* Credentials: see fr_creds.h. The order of the checks follows the kernel's kernel/sys.c and security/commoncap.c. */
#define _GNU_SOURCE
#include "fr_creds.h"

#include "fakeroot_abi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct fr_cred plain_root;

int fr_creds_init(struct fr_creds *creds)
{
    memset(creds, 0, sizeof *creds);
    creds->slot_count = 64;
    creds->slots = calloc(creds->slot_count, sizeof *creds->slots);
    creds->list = calloc(16, sizeof *creds->list);
    if (creds->slots == NULL || creds->list == NULL) {
        fr_creds_free(creds);
        return -ENOMEM;
    }
    creds->capacity = 16;
    creds->count = 1;
    return 0;
}

void fr_creds_free(struct fr_creds *creds)
{
    for (size_t i = 1; i < creds->count; i++)
        free(creds->list[i]);
    free(creds->list);
    free(creds->slots);
    memset(creds, 0, sizeof *creds);
}

const struct fr_cred *fr_creds_get(const struct fr_creds *creds, uint32_t index)
{
    if (index == 0)
        return &plain_root;
    return index < creds->count ? creds->list[index] : NULL;
}

static bool same(const struct fr_cred *a, const struct fr_cred *b)
{
    return memcmp(a, b, offsetof(struct fr_cred, groups)) == 0 &&
           (a->group_count == 0 || memcmp(a->groups, b->groups, a->group_count * sizeof *a->groups) == 0);
}

static uint64_t mix(uint64_t hash, const void *data, size_t length)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    return hash;
}

static size_t slot_of(const struct fr_creds *creds, const struct fr_cred *cred)
{
    uint64_t hash = mix(0xcbf29ce484222325ULL, cred, offsetof(struct fr_cred, groups));
    size_t at;

    hash = mix(hash, cred->groups, cred->group_count * sizeof *cred->groups);
    at = (size_t)(hash ^ (hash >> 32)) & (creds->slot_count - 1);
    while (creds->slots[at] != 0 && !same(creds->list[creds->slots[at]], cred))
        at = (at + 1) & (creds->slot_count - 1);
    return at;
}

/* Nothing that tells it from a fresh process of the container's root (umask does not: the kernel keeps it). */
static bool is_plain_root(const struct fr_cred *cred)
{
    return (cred->ruid | cred->euid | cred->suid | cred->fsuid | cred->rgid | cred->egid | cred->sgid | cred->fsgid) ==
               0 &&
           cred->permitted == cred->bounding && cred->effective == cred->bounding && cred->inheritable == 0 &&
           cred->ambient == 0 && cred->securebits == 0 && cred->group_count == 0;
}

static int make_room(struct fr_creds *creds)
{
    struct fr_cred **list;
    uint32_t *slots, *old = creds->slots;

    if (creds->count == creds->capacity) {
        list = realloc(creds->list, creds->capacity * 2 * sizeof *list);
        if (list == NULL)
            return -ENOMEM;
        creds->list = list;
        creds->capacity *= 2;
    }
    if (creds->count * 2 < creds->slot_count)
        return 0;
    slots = calloc(creds->slot_count * 2, sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    creds->slots = slots;
    creds->slot_count *= 2;
    for (size_t i = 1; i < creds->count; i++)
        slots[slot_of(creds, creds->list[i])] = (uint32_t)i;
    free(old);
    return 0;
}

int64_t fr_creds_intern(struct fr_creds *creds, const struct fr_cred *cred)
{
    struct fr_cred *copy;
    size_t at;
    int rc;

    if (is_plain_root(cred))
        return 0;
    at = slot_of(creds, cred);
    if (creds->slots[at] != 0)
        return creds->slots[at];
    if (creds->count >= 1U << 20)
        return -EAGAIN;
    rc = make_room(creds);
    if (rc < 0)
        return rc;
    copy = malloc(sizeof *copy + cred->group_count * sizeof *cred->groups);
    if (copy == NULL)
        return -ENOMEM;
    *copy = *cred;
    copy->groups = (const uint32_t *)(copy + 1);
    if (cred->group_count != 0)
        memcpy(copy + 1, cred->groups, cred->group_count * sizeof *cred->groups);
    creds->list[creds->count] = copy;
    creds->slots[slot_of(creds, cred)] = (uint32_t)creds->count;
    return (int64_t)creds->count++;
}

bool fr_cred_has(const struct fr_cred *cred, int capability)
{
    return cred == &plain_root || (cred->effective & FR_CAP_BIT(capability)) != 0;
}

bool fr_cred_in_group(const struct fr_cred *cred, uint32_t gid)
{
    uint32_t low = 0, high = cred->group_count;

    if (gid == cred->fsgid)
        return true;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (cred->groups[middle] == gid)
            return true;
        if (cred->groups[middle] < gid)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* What a change of user ids does to capabilities (commoncap.c: cap_emulate_setxuid, cap_task_fix_setuid). */
static void fix_capabilities(struct fr_cred *cred, const struct fr_cred *old)
{
    bool was_root = old->ruid == 0 || old->euid == 0 || old->suid == 0;

    if (cred->securebits & FR_SECBIT_NO_SETUID_FIXUP)
        return;
    if (was_root && cred->ruid != 0 && cred->euid != 0 && cred->suid != 0) {
        if (!(cred->securebits & FR_SECBIT_KEEP_CAPS))
            cred->permitted = cred->effective = 0;
        cred->ambient = 0;
    }
    if (old->euid == 0 && cred->euid != 0)
        cred->effective = 0;
    if (old->euid != 0 && cred->euid == 0)
        cred->effective = cred->permitted;
}

int fr_cred_setuid(struct fr_cred *cred, uint32_t uid)
{
    struct fr_cred old = *cred;

    if (uid == FR_NO_ID)
        return -EINVAL;
    if (fr_cred_has(cred, FR_CAP_SETUID))
        cred->ruid = cred->suid = uid;
    else if (uid != old.ruid && uid != old.suid)
        return -EPERM;
    cred->euid = cred->fsuid = uid;
    fix_capabilities(cred, &old);
    return 0;
}

int fr_cred_setgid(struct fr_cred *cred, uint32_t gid)
{
    if (gid == FR_NO_ID)
        return -EINVAL;
    if (fr_cred_has(cred, FR_CAP_SETGID))
        cred->rgid = cred->sgid = gid;
    else if (gid != cred->rgid && gid != cred->sgid)
        return -EPERM;
    cred->egid = cred->fsgid = gid;
    return 0;
}

int fr_cred_setreuid(struct fr_cred *cred, uint32_t ruid, uint32_t euid)
{
    struct fr_cred old = *cred;
    bool privileged = fr_cred_has(cred, FR_CAP_SETUID);

    if (ruid != FR_NO_ID && ruid != old.ruid && ruid != old.euid && !privileged)
        return -EPERM;
    if (euid != FR_NO_ID && euid != old.ruid && euid != old.euid && euid != old.suid && !privileged)
        return -EPERM;
    if (ruid != FR_NO_ID)
        cred->ruid = ruid;
    if (euid != FR_NO_ID)
        cred->euid = euid;
    if (ruid != FR_NO_ID || (euid != FR_NO_ID && euid != old.ruid))
        cred->suid = cred->euid;
    cred->fsuid = cred->euid;
    fix_capabilities(cred, &old);
    return 0;
}

int fr_cred_setregid(struct fr_cred *cred, uint32_t rgid, uint32_t egid)
{
    struct fr_cred old = *cred;
    bool privileged = fr_cred_has(cred, FR_CAP_SETGID);

    if (rgid != FR_NO_ID && rgid != old.rgid && rgid != old.egid && !privileged)
        return -EPERM;
    if (egid != FR_NO_ID && egid != old.rgid && egid != old.egid && egid != old.sgid && !privileged)
        return -EPERM;
    if (rgid != FR_NO_ID)
        cred->rgid = rgid;
    if (egid != FR_NO_ID)
        cred->egid = egid;
    if (rgid != FR_NO_ID || (egid != FR_NO_ID && egid != old.rgid))
        cred->sgid = cred->egid;
    cred->fsgid = cred->egid;
    return 0;
}

static bool is_one_of(uint32_t id, uint32_t a, uint32_t b, uint32_t c)
{
    return id == FR_NO_ID || id == a || id == b || id == c;
}

int fr_cred_setresuid(struct fr_cred *cred, uint32_t ruid, uint32_t euid, uint32_t suid)
{
    struct fr_cred old = *cred;

    if (!fr_cred_has(cred, FR_CAP_SETUID) &&
        (!is_one_of(ruid, old.ruid, old.euid, old.suid) || !is_one_of(euid, old.ruid, old.euid, old.suid) ||
         !is_one_of(suid, old.ruid, old.euid, old.suid)))
        return -EPERM;
    if (ruid != FR_NO_ID)
        cred->ruid = ruid;
    if (euid != FR_NO_ID)
        cred->euid = euid;
    if (suid != FR_NO_ID)
        cred->suid = suid;
    cred->fsuid = cred->euid;
    fix_capabilities(cred, &old);
    return 0;
}

int fr_cred_setresgid(struct fr_cred *cred, uint32_t rgid, uint32_t egid, uint32_t sgid)
{
    struct fr_cred old = *cred;

    if (!fr_cred_has(cred, FR_CAP_SETGID) &&
        (!is_one_of(rgid, old.rgid, old.egid, old.sgid) || !is_one_of(egid, old.rgid, old.egid, old.sgid) ||
         !is_one_of(sgid, old.rgid, old.egid, old.sgid)))
        return -EPERM;
    if (rgid != FR_NO_ID)
        cred->rgid = rgid;
    if (egid != FR_NO_ID)
        cred->egid = egid;
    if (sgid != FR_NO_ID)
        cred->sgid = sgid;
    cred->fsgid = cred->egid;
    return 0;
}

void fr_cred_setfsuid(struct fr_cred *cred, uint32_t uid)
{
    uint32_t old = cred->fsuid;

    if (uid == FR_NO_ID ||
        (!fr_cred_has(cred, FR_CAP_SETUID) && uid != cred->ruid && uid != cred->euid && uid != cred->suid && uid != old))
        return;
    cred->fsuid = uid;
    if (cred->securebits & FR_SECBIT_NO_SETUID_FIXUP)
        return;
    if (old == 0 && uid != 0)
        cred->effective &= ~FR_CAP_FS_MASK;
    if (old != 0 && uid == 0)
        cred->effective |= cred->permitted & FR_CAP_FS_MASK;
}

void fr_cred_setfsgid(struct fr_cred *cred, uint32_t gid)
{
    if (gid != FR_NO_ID && (fr_cred_has(cred, FR_CAP_SETGID) || gid == cred->rgid || gid == cred->egid ||
                            gid == cred->sgid || gid == cred->fsgid))
        cred->fsgid = gid;
}

int fr_cred_capset(struct fr_cred *cred, uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    if (!fr_cred_has(cred, FR_CAP_SETPCAP) && (inheritable & ~(cred->inheritable | cred->permitted)) != 0)
        return -EPERM;
    if ((inheritable & ~(cred->inheritable | cred->bounding)) != 0)
        return -EPERM;
    if ((permitted & ~cred->permitted) != 0 || (effective & ~permitted) != 0)
        return -EPERM;
    cred->effective = effective;
    cred->permitted = permitted;
    cred->inheritable = inheritable;
    cred->ambient &= permitted & inheritable;
    return 0;
}

int fr_cred_ambient(struct fr_cred *cred, uint64_t operation, uint64_t capability)
{
    enum { IS_SET = 1, RAISE = 2, LOWER = 3, CLEAR_ALL = 4 };

    if (operation == CLEAR_ALL && capability == 0) {
        cred->ambient = 0;
        return 0;
    }
    if (capability > 63 || operation < IS_SET || operation > LOWER)
        return -EINVAL;
    if (operation == IS_SET)
        return (cred->ambient & FR_CAP_BIT(capability)) != 0;
    if (operation == LOWER) {
        cred->ambient &= ~FR_CAP_BIT(capability);
        return 0;
    }
    if ((cred->permitted & cred->inheritable & FR_CAP_BIT(capability)) == 0)
        return -EPERM;
    cred->ambient |= FR_CAP_BIT(capability);
    return 0;
}

static uint64_t word(const unsigned char *at)
{
    return at[0] | ((uint64_t)at[1] << 8) | ((uint64_t)at[2] << 16) | ((uint64_t)at[3] << 24);
}

void fr_cred_exec(struct fr_cred *cred, uint32_t mode, uint32_t uid, uint32_t gid, const void *filecap, size_t length)
{
    uint64_t file_permitted = 0, file_inheritable = 0;
    bool file_effective = false, changed;
    const unsigned char *at = filecap;
    struct fr_cred old = *cred;

    if (mode & 04000)
        cred->euid = uid;
    if ((mode & 02010) == 02010)
        cred->egid = gid;
    if (at != NULL && length >= 20) { /* VFS_CAP_REVISION_2 and _3 begin alike */
        file_effective = (word(at) & 1) != 0;
        file_permitted = word(at + 4) | (word(at + 12) << 32);
        file_inheritable = word(at + 8) | (word(at + 16) << 32);
    }
    if (!(cred->securebits & FR_SECBIT_NOROOT)) {
        /* a set-uid-root file with its own capabilities gives a plain user just those */
        bool capped = at != NULL && old.ruid != 0 && cred->euid == 0;

        if (!capped && (cred->euid == 0 || cred->ruid == 0))
            file_permitted = file_inheritable = ~0ULL;
        if (!capped && cred->euid == 0)
            file_effective = true;
    }
    changed = cred->euid != old.euid || cred->egid != old.egid;
    if (changed || at != NULL)
        cred->ambient = 0;
    cred->permitted =
        (file_permitted & cred->bounding) | (file_inheritable & cred->inheritable) | cred->ambient;
    cred->effective = file_effective ? cred->permitted : cred->ambient;
    cred->suid = cred->fsuid = cred->euid;
    cred->sgid = cred->fsgid = cred->egid;
    cred->securebits &= ~FR_SECBIT_KEEP_CAPS;
}

bool fr_cred_may(const struct fr_cred *cred, uint32_t uid, uint32_t gid, bool privileged, uint32_t file_mode,
                 uint32_t file_uid, uint32_t file_gid, int mask)
{
    uint32_t bits = file_mode & 7;

    if (privileged) /* CAP_DAC_OVERRIDE: all but executing what nobody may execute */
        return !(mask & 1) || (file_mode & 0170000) == 0040000 || (file_mode & 0111) != 0;
    if (uid == file_uid) {
        bits = (file_mode >> 6) & 7;
    } else if (gid == file_gid) {
        bits = (file_mode >> 3) & 7;
    } else {
        for (uint32_t i = 0; i < cred->group_count; i++)
            if (cred->groups[i] == file_gid)
                bits = (file_mode >> 3) & 7;
    }
    return ((uint32_t)mask & ~bits) == 0;
}
