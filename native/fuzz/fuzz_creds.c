/* Calls that change credentials, in any order: who has dropped its rights never has them again without a set-id file,
 * capabilities stay within each other as capabilities(7) says, and equal credentials share a number.
 *
 *   input   some of: 1 byte which call, 3 bytes of arguments
 */
#include <errno.h>
#include <string.h>

#include "fakeroot_abi.h"
#include "fr_creds.h"
#include "require.h"

#define STEP 4
#define ALL 0x1ffffffffffULL

static const uint32_t IDS[] = {0, 1, 2, 1000, 65534, FR_NO_ID};
static const uint64_t SETS[] = {0, 1, FR_CAP_BIT(FR_CAP_SETUID), FR_CAP_BIT(FR_CAP_SETGID), FR_CAP_BIT(FR_CAP_SETPCAP),
                                FR_CAP_FS_MASK, ALL, UINT64_MAX};

static uint32_t id(uint8_t byte) { return IDS[byte % (sizeof IDS / sizeof IDS[0])]; }
static uint64_t set(uint8_t byte) { return SETS[byte % (sizeof SETS / sizeof SETS[0])]; }

static int call(struct fr_cred *cred, const uint8_t *data)
{
    switch (data[0] % 11) {
    case 0:
        return fr_cred_setuid(cred, id(data[1]));
    case 1:
        return fr_cred_setgid(cred, id(data[1]));
    case 2:
        return fr_cred_setreuid(cred, id(data[1]), id(data[2]));
    case 3:
        return fr_cred_setregid(cred, id(data[1]), id(data[2]));
    case 4:
        return fr_cred_setresuid(cred, id(data[1]), id(data[2]), id(data[3]));
    case 5:
        return fr_cred_setresgid(cred, id(data[1]), id(data[2]), id(data[3]));
    case 6:
        fr_cred_setfsuid(cred, id(data[1]));
        return 0;
    case 7:
        fr_cred_setfsgid(cred, id(data[1]));
        return 0;
    case 8:
        return fr_cred_capset(cred, set(data[1]), set(data[2]), set(data[3]));
    case 9:
        return fr_cred_ambient(cred, data[1] % 6, data[2] % 66);
    default: /* prctl(PR_SET_SECUREBITS), which takes CAP_SETPCAP */
        if (!fr_cred_has(cred, FR_CAP_SETPCAP))
            return -EPERM;
        cred->securebits = data[1];
        return 0;
    }
}

static bool has_id(const struct fr_cred *cred, uint32_t wanted)
{
    return cred->ruid == wanted || cred->euid == wanted || cred->suid == wanted || cred->fsuid == wanted;
}

/* An id that a process without CAP_SETUID has after a call, it had before. */
static void check_step(const struct fr_cred *before, const struct fr_cred *after, int rc)
{
    if (rc < 0)
        require(memcmp(before, after, sizeof *before) == 0);
    require((after->permitted & ~before->permitted) == 0);
    if (!fr_cred_has(before, FR_CAP_SETUID))
        require(has_id(before, after->ruid) && has_id(before, after->euid) && has_id(before, after->suid) &&
                has_id(before, after->fsuid));
    require((after->effective & ~after->permitted) == 0);
    require((after->ambient & ~(after->permitted & after->inheritable)) == 0);
    for (size_t i = 0; i + 1 < sizeof IDS / sizeof IDS[0]; i++) /* whoever it is, it may do to its files what they say */
        require(fr_cred_may(after, IDS[i], 0, false, 0100700, IDS[i], 1, 7));
}

/* A file without set-id bits, and without capabilities but for root, gives nobody more than root has. */
static void exec(struct fr_cred *cred, const uint8_t *data)
{
    const struct fr_cred before = *cred;
    uint32_t mode = 0100755U | (data[1] % 4U) << 10;
    unsigned char raw[20] = {1, 0, 0, 2, data[2], data[3]};
    bool capable = data[1] & 4;

    fr_cred_exec(cred, mode, id(data[2]), id(data[3]), capable ? raw : NULL, capable ? 4U + data[1] % 17U : 0);
    require(cred->ruid == before.ruid && cred->rgid == before.rgid && cred->bounding == before.bounding);
    if (!(mode & 04000))
        require(cred->euid == before.euid);
    if (!(mode & 06000) && !capable && before.ruid != 0 && before.euid != 0)
        require(cred->permitted == before.ambient && cred->effective == before.ambient);
    require((cred->effective & ~cred->permitted) == 0 && cred->suid == cred->euid && cred->fsuid == cred->euid);
    require((cred->permitted & ~(cred->bounding | before.inheritable | before.ambient)) == 0);
}

static void intern(struct fr_creds *creds, const struct fr_cred *cred)
{
    int64_t index = fr_creds_intern(creds, cred);
    const struct fr_cred *kept;

    require(index >= 0 && fr_creds_intern(creds, cred) == index);
    kept = fr_creds_get(creds, (uint32_t)index);
    require(kept != NULL && (index == 0 || memcmp(kept, cred, offsetof(struct fr_cred, groups)) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t groups[] = {1, 1000};
    struct fr_cred cred;
    struct fr_creds creds;

    memset(&cred, 0, sizeof cred);
    cred.permitted = cred.effective = cred.bounding = ALL;
    require(fr_creds_init(&creds) == 0);
    for (; size >= STEP; data += STEP, size -= STEP) {
        struct fr_cred before = cred;

        if (data[0] % 12 == 11) {
            exec(&cred, data);
        } else {
            int rc = call(&cred, data);

            check_step(&before, &cred, rc);
        }
        cred.group_count = data[3] % 3;
        cred.groups = groups;
        intern(&creds, &cred);
    }
    fr_creds_free(&creds);
    return 0;
}
