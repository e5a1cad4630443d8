/* Credentials by the rules of credentials(7) and capabilities(7), and the BPF program, TAP. No system call is made. */
#include "../fakeroot.h"
#include "../fr_calls.h"
#include "../fr_creds.h"
#include "../fr_shared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL 0x1ffffffffffULL

static int number, failed;

static void ok(int good, const char *what)
{
    failed += !good;
    printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
}

static struct fr_cred root(void)
{
    struct fr_cred cred;

    memset(&cred, 0, sizeof cred);
    cred.permitted = cred.effective = cred.bounding = ALL;
    return cred;
}

static void test_users(void)
{
    struct fr_cred cred = root();

    ok(fr_cred_setuid(&cred, 5) == 0 && cred.ruid == 5 && cred.suid == 5 && cred.fsuid == 5, "root drops for good");
    ok(cred.permitted == 0 && cred.effective == 0, "and its capabilities with it");
    ok(fr_cred_setuid(&cred, 0) == -EPERM && fr_cred_setreuid(&cred, FR_NO_ID, 0) == -EPERM &&
           fr_cred_setresuid(&cred, 0, FR_NO_ID, FR_NO_ID) == -EPERM,
       "there is no way back");
    ok(fr_cred_setuid(&cred, FR_NO_ID) == -EINVAL, "-1 is nobody");
    cred = root();
    ok(fr_cred_setresuid(&cred, FR_NO_ID, 5, FR_NO_ID) == 0 && cred.euid == 5 && cred.effective == 0 &&
           cred.permitted == ALL,
       "seteuid keeps what is permitted");
    ok(fr_cred_setresuid(&cred, FR_NO_ID, 0, FR_NO_ID) == 0 && cred.effective == ALL, "and comes back");
    ok(fr_cred_setreuid(&cred, 5, 6) == 0 && cred.ruid == 5 && cred.euid == 6 && cred.suid == 6, "setreuid saves");
    ok(fr_cred_setreuid(&cred, 6, 5) == 0 && cred.ruid == 6 && cred.euid == 5, "and swaps");
    cred = root();
    cred.securebits = FR_SECBIT_KEEP_CAPS;
    ok(fr_cred_setuid(&cred, 5) == 0 && cred.permitted == ALL && cred.effective == 0, "PR_SET_KEEPCAPS");
    cred = root();
    fr_cred_setfsuid(&cred, 5);
    ok(cred.fsuid == 5 && !fr_cred_has(&cred, FR_CAP_CHOWN) && fr_cred_has(&cred, FR_CAP_SETUID), "setfsuid");
    fr_cred_setfsuid(&cred, 0);
    ok(fr_cred_has(&cred, FR_CAP_CHOWN), "and back");
}

static void test_groups(void)
{
    const uint32_t groups[] = {2, 4, 6};
    struct fr_cred cred = root();

    cred.group_count = 3;
    cred.groups = groups;
    ok(fr_cred_setgid(&cred, 5) == 0 && cred.rgid == 5 && cred.fsgid == 5, "setgid");
    ok(fr_cred_in_group(&cred, 5) && fr_cred_in_group(&cred, 2) && fr_cred_in_group(&cred, 6) &&
           !fr_cred_in_group(&cred, 3) && !fr_cred_in_group(&cred, 7),
       "groups are found");
    fr_cred_setuid(&cred, 9);
    ok(fr_cred_setgid(&cred, 0) == -EPERM && fr_cred_setregid(&cred, 5, 5) == 0 &&
           fr_cred_setresgid(&cred, 0, FR_NO_ID, FR_NO_ID) == -EPERM,
       "a user changes to what it has");
    ok(fr_cred_may(&cred, 9, 5, false, 0100640, 9, 1, 6) && !fr_cred_may(&cred, 9, 5, false, 0100640, 1, 1, 4) &&
           fr_cred_may(&cred, 9, 5, false, 0100640, 1, 4, 4) && fr_cred_may(&cred, 9, 5, true, 0100000, 1, 1, 6) &&
           !fr_cred_may(&cred, 9, 5, true, 0100000, 1, 1, 1),
       "access: owner, group, others, root");
    ok(!fr_cred_may(&cred, 9, 5, false, 0100077, 9, 5, 4), "the owner's digit counts, and no other");
}

static void test_exec(void)
{
    /* revision 2, effective, CAP_NET_RAW */
    const unsigned char raw[20] = {1, 0, 0, 2, 0, 0x20, 0, 0};
    struct fr_cred cred = root();

    fr_cred_setuid(&cred, 5);
    fr_cred_exec(&cred, 0104755, 0, 0, NULL, 0);
    ok(cred.ruid == 5 && cred.euid == 0 && cred.suid == 0 && cred.fsuid == 0 && cred.effective == ALL, "sudo");
    ok(fr_cred_setuid(&cred, 0) == 0 && cred.ruid == 0, "becomes root whole");
    fr_cred_setuid(&cred, 5);
    fr_cred_exec(&cred, 0102755, 0, 42, NULL, 0);
    ok(cred.egid == 42 && cred.sgid == 42 && cred.rgid == 0 && cred.euid == 5, "a set-gid program");
    fr_cred_exec(&cred, 0102745, 0, 43, NULL, 0);
    ok(cred.egid == 42, "without group execution it is no set-gid program");
    fr_cred_exec(&cred, 0100755, 0, 0, raw, sizeof raw);
    ok(cred.effective == 0x2000 && cred.permitted == 0x2000, "file capabilities");
    fr_cred_exec(&cred, 0100755, 0, 0, NULL, 0);
    ok(cred.effective == 0 && cred.permitted == 0, "are gone with the next program");
    cred = root();
    cred.securebits = FR_SECBIT_KEEP_CAPS;
    fr_cred_setuid(&cred, 5);
    fr_cred_capset(&cred, 1, ALL, 1);
    ok(fr_cred_ambient(&cred, 2, 0) == 0 && fr_cred_ambient(&cred, 1, 0) == 1 &&
           fr_cred_ambient(&cred, 2, 1) == -EPERM && fr_cred_ambient(&cred, 9, 1) == -EINVAL,
       "ambient ones must be permitted and inheritable");
    fr_cred_exec(&cred, 0100755, 0, 0, NULL, 0);
    ok(cred.effective == 1 && cred.permitted == 1 && cred.securebits == 0, "and outlive execve");
    ok(fr_cred_capset(&cred, 3, 3, 0) == -EPERM && fr_cred_capset(&cred, 0, 0, 0) == 0, "capset only takes away");
}

static void test_interning(void)
{
    const uint32_t groups[] = {1, 2, 3};
    struct fr_creds creds;
    struct fr_cred cred = root();
    int64_t first, second;
    int good = 1;

    ok(fr_creds_init(&creds) == 0 && fr_creds_intern(&creds, &cred) == 0, "plain root is 0");
    cred.euid = 4;
    first = fr_creds_intern(&creds, &cred);
    cred.group_count = 3;
    cred.groups = groups;
    second = fr_creds_intern(&creds, &cred);
    ok(first == 1 && second == 2 && fr_creds_intern(&creds, &cred) == 2, "equal ones share a number");
    ok(fr_creds_get(&creds, 2)->groups[2] == 3 && fr_creds_get(&creds, 3) == NULL &&
           fr_creds_get(&creds, UINT32_MAX) == NULL,
       "numbers never given out are nobody");
    for (uint32_t i = 0; i < 5000; i++) {
        cred.ruid = i;
        good = good && fr_creds_intern(&creds, &cred) > 0;
    }
    for (uint32_t i = 0; i < 5000; i++) {
        cred.ruid = i;
        good = good && fr_creds_get(&creds, (uint32_t)fr_creds_intern(&creds, &cred))->ruid == i;
    }
    ok(good && creds.count <= 5003, "thousands of them");
    fr_creds_free(&creds);
}

/* A BPF machine of the few instructions that the filter uses. */
static uint32_t run(const struct fr_bpf_insn *program, size_t length, const struct fr_seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t pc = 0; pc < length; pc++) {
        const struct fr_bpf_insn *insn = &program[pc];

        switch (insn->code) {
        case 0x20:
            memcpy(&a, (const char *)data + insn->k, sizeof a);
            break;
        case 0x05:
            pc += insn->k;
            break;
        case 0x15:
            pc += a == insn->k ? insn->jt : insn->jf;
            break;
        case 0x35:
            pc += a >= insn->k ? insn->jt : insn->jf;
            break;
        case 0x45:
            pc += a & insn->k ? insn->jt : insn->jf;
            break;
        case 0x06:
            return insn->k;
        default:
            return 0;
        }
    }
    return 0;
}

static uint32_t expected(int arch, int nr, const struct fr_seccomp_data *data, int fsync)
{
    for (size_t i = 0; i < fr_call_rule_count; i++) {
        const struct fr_call_rule *rule = &fr_call_rules[i];
        uint32_t value = (uint32_t)data->args[rule->arg];

        if (rule->nr[arch] != nr)
            continue;
        switch ((enum fr_rule)rule->rule) {
        case RULE_NOTIFY:
            return FR_RET_USER_NOTIF;
        case RULE_UNMARKED:
            return data->args[5] == FR_MARKED ? FR_RET_ALLOW : FR_RET_USER_NOTIF;
        case RULE_BITS_UNMARKED:
            if (value & rule->value)
                return data->args[5] == FR_MARKED ? FR_RET_ALLOW : FR_RET_USER_NOTIF;
            break;
        case RULE_BITS:
            if (value & rule->value)
                return FR_RET_USER_NOTIF;
            break;
        case RULE_EQUAL:
            if (value == rule->value)
                return FR_RET_USER_NOTIF;
            break;
        case RULE_SOCKOPT:
            if ((uint32_t)data->args[1] == 1 && (uint32_t)data->args[2] == rule->value)
                return FR_RET_USER_NOTIF;
            break;
        case RULE_DURABLE:
            if (!fsync && (rule->value == 0 || (value & rule->value)))
                return FR_RET_ERRNO;
            break;
        case RULE_ANSWER_ZERO:
            if (value == rule->value)
                return FR_RET_ERRNO;
            break;
        case RULE_NO_CALL:
            return FR_RET_ERRNO | ENOSYS;
        }
    }
    return FR_RET_ALLOW;
}

static void test_filter(void)
{
    static struct fr_bpf_insn program[2048];
    const uint32_t values[] = {0, 1, 2, 4, 7, 8, 10, 15, 17, 28, 47, 59, 0100, 0x20000, 020000000, UINT32_MAX};
    const struct { uint32_t audit; int arch; } arches[] = {
#if defined(__x86_64__)
        {FR_ARCH_X86_64, FR_X86_64}, {FR_ARCH_I386, FR_I386},
#else
        {FR_ARCH_AARCH64, FR_AARCH64},
#endif
    };
    struct fr_seccomp_data data;
    int good = 1;

    for (int fsync = 0; fsync < 2; fsync++) {
        size_t length = fr_build_filter(program, 2048, fsync);

        ok(length > 0 && length < 2048, "the program fits");
        for (size_t a = 0; a < sizeof arches / sizeof arches[0]; a++)
            for (int nr = 0; nr < FR_NR_MAX; nr++)
                for (size_t v = 0; v < 16 * 16; v++) {
                    memset(&data, 0, sizeof data);
                    data.nr = nr;
                    data.arch = arches[a].audit;
                    for (int i = 0; i < 6; i++)
                        data.args[i] = values[i % 2 ? v / 16 : v % 16];
                    if (run(program, length, &data) != expected(arches[a].arch, nr, &data, fsync))
                        good = 0;
                }
        ok(good, "it says what the table of calls says, for every call");
        for (size_t a = 0; a < sizeof arches / sizeof arches[0]; a++)
            for (int nr = 0; nr < FR_NR_MAX; nr++)
                for (int half = 0; half < 3; half++) {
                    memset(&data, 0, sizeof data);
                    data.nr = nr;
                    data.arch = arches[a].audit;
                    data.args[1] = data.args[2] = (uint64_t)-1;
                    data.args[5] = half == 0 ? FR_MARKED : half == 1 ? (uint32_t)FR_MARKED : FR_MARKED >> 32 << 32;
                    if (run(program, length, &data) != expected(arches[a].arch, nr, &data, fsync))
                        good = 0;
                }
        ok(good, "marked calls pass, half marked ones do not");
        memset(&data, 0, sizeof data);
        data.arch = 0x40000028; /* 32-bit ARM */
        ok(run(program, length, &data) == FR_RET_KILL_PROCESS, "another architecture is refused");
        ok(fr_build_filter(program, length - 1, fsync) == 0, "too little room is told");
    }
}

int main(void)
{
    test_users();
    test_groups();
    test_exec();
    test_interning();
    test_filter();
    printf("1..%d\n", number);
    return failed != 0;
}
