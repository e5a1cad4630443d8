/* Credentials as the image sees them, and the rules of credentials(7) and capabilities(7) for changing them.
 *
 * In the kernel every process of the container is uid 0 of a one-id user namespace. Who it *believes* to be is a
 * struct fr_cred, interned by content; a process carries the index of its own in the soft limit of RLIMIT_LOCKS,
 * which no kernel since 2.4 acts on. So the kernel itself hands credentials on at fork and keeps them over execve,
 * shares them among threads and forgets them with the process: a daemon that forks twice, a parent killed before
 * its child was ever seen and a reused pid all read right, with no table of processes and no look at /proc.
 * Beside the index lie the rights of an owner that the process's umask takes: what it makes must be looked at.
 *
 * Index 0, or a limit without our mark, is plain root: ids 0, no groups, all capabilities of the bounding set.
 * Pure: no system calls. Tested alone.
 */
#ifndef IECHOR_FR_CREDS_H
#define IECHOR_FR_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FR_CRED_MARK 0x6672000000000000ULL
#define FR_CRED_MARK_MASK 0xffff000000000000ULL
#define FR_HARSH_SHIFT 32 /* 9 bits: umask & 0700 */
#define FR_HARSH_MASK 0700U
#define FR_GROUPS_MAX 65536
#define FR_NO_ID UINT32_MAX

struct fr_cred {
    uint32_t ruid, euid, suid, fsuid;
    uint32_t rgid, egid, sgid, fsgid;
    uint64_t inheritable, permitted, effective, bounding, ambient;
    uint32_t securebits;
    uint32_t umask;
    uint32_t group_count;
    uint32_t reserved; /* 0: there is no padding before groups, so contents compare as bytes */
    const uint32_t *groups; /* sorted */
};

struct fr_creds {
    struct fr_cred **list; /* list[0] is plain root */
    size_t count, capacity;
    uint32_t *slots;
    size_t slot_count;
};

int fr_creds_init(struct fr_creds *creds);
void fr_creds_free(struct fr_creds *creds);

/* NULL for an index that was never given out. */
const struct fr_cred *fr_creds_get(const struct fr_creds *creds, uint32_t index);

/* The index of equal credentials, made when new (groups are copied); 0 for plain root; -errno. */
int64_t fr_creds_intern(struct fr_creds *creds, const struct fr_cred *cred);

bool fr_cred_has(const struct fr_cred *cred, int capability);
bool fr_cred_in_group(const struct fr_cred *cred, uint32_t gid); /* fsgid or a supplementary group */

/* The calls, each 0 or -errno; FR_NO_ID where the call says -1. */
int fr_cred_setuid(struct fr_cred *cred, uint32_t uid);
int fr_cred_setgid(struct fr_cred *cred, uint32_t gid);
int fr_cred_setreuid(struct fr_cred *cred, uint32_t ruid, uint32_t euid);
int fr_cred_setregid(struct fr_cred *cred, uint32_t rgid, uint32_t egid);
int fr_cred_setresuid(struct fr_cred *cred, uint32_t ruid, uint32_t euid, uint32_t suid);
int fr_cred_setresgid(struct fr_cred *cred, uint32_t rgid, uint32_t egid, uint32_t sgid);
void fr_cred_setfsuid(struct fr_cred *cred, uint32_t uid);
void fr_cred_setfsgid(struct fr_cred *cred, uint32_t gid);
int fr_cred_capset(struct fr_cred *cred, uint64_t effective, uint64_t permitted, uint64_t inheritable);
int fr_cred_ambient(struct fr_cred *cred, uint64_t operation, uint64_t capability); /* prctl(PR_CAP_AMBIENT) */

/* execve: mode, owner and security.capability (NULL, 0 when it has none) of the file. */
void fr_cred_exec(struct fr_cred *cred, uint32_t mode, uint32_t uid, uint32_t gid, const void *filecap, size_t length);

/* access(2): may `uid`, `gid` with the groups of cred do `mask` (R_OK, W_OK, X_OK) to a file? privileged: override. */
bool fr_cred_may(const struct fr_cred *cred, uint32_t uid, uint32_t gid, bool privileged, uint32_t file_mode,
                 uint32_t file_uid, uint32_t file_gid, int mask);

#endif
