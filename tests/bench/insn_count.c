/* Counts the instructions that an emulated AArch64 program runs, by kind, between two calls of a chosen system call.
 *
 *     gcc -O2 -shared -fPIC insn_count.c -o insn_count.so
 *     qemu-aarch64 -cpu cortex-a76 -plugin ./insn_count.so,mark=113,out=counts.txt program
 *
 * Every time the program makes system call number `mark` a line with all counters is written, since the start, in the order of KINDS.
 * For one guest thread: the counters are not atomic. Debian's qemu-user ships no header for plugins, hence the declarations: they are
 * version 1 of the interface, which qemu 7.2 speaks (include/qemu/qemu-plugin.h there).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*trans_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*syscall_cb)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, trans_cb);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_cb);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int add_u64, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum kind { DOT, MATRIX, WIDENING, PAIRWISE, FLOAT_MADD, VECTOR, VECTOR_LOAD, VECTOR_STORE, LOAD, STORE, BRANCH, SCALAR, KINDS };

static uint64_t counts[KINDS];
static int64_t mark = -1;
static FILE *out;

/* The top-level tables of the A64 instruction set, as far as they tell these kinds apart. */
static enum kind kind_of(uint32_t w)
{
    uint32_t op = w >> 12 & 15;
    if ((w >> 27 & 1) && !(w >> 25 & 1)) { /* loads and stores; a literal is always loaded */
        int vector = w >> 26 & 1, load = (w >> 22 & 1) || (w & 0x3b000000) == 0x18000000;
        return load ? (vector ? VECTOR_LOAD : LOAD) : (vector ? VECTOR_STORE : STORE);
    }
    if ((w & 0x9f20fc00) == 0x0e009400 || (w & 0x9f00f400) == 0x0f00e000) return DOT;       /* SDOT, UDOT; vector, element */
    if ((w & 0x9f20fc00) == 0x0e00a400) return MATRIX;                                      /* SMMLA, UMMLA */
    if ((w & 0x9f200c00) == 0x0e200000 && (op == 8 || op == 10 || op == 12)) return WIDENING; /* SMLAL, SMLSL, SMULL */
    if ((w & 0x9f000400) == 0x0f000000 && (op == 2 || op == 6 || op == 10)) return WIDENING;  /* the same by element */
    if ((w & 0x9f3fbc00) == 0x0e202800) return PAIRWISE;                                    /* SADDLP, SADALP, and unsigned */
    if ((w & 0xbfa0fc00) == 0x0e20cc00 || (w & 0xbf80f400) == 0x0f801000) return FLOAT_MADD; /* FMLA */
    if ((w >> 25 & 7) == 7) return VECTOR;
    if ((w >> 26 & 7) == 5) return BRANCH;
    return SCALAR;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t i = 0, n = qemu_plugin_tb_n_insns(tb); i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, &counts[kind_of(word)], 1);
    }
}

static void on_syscall(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                       uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)vcpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != mark) return;
    for (int k = 0; k < KINDS; k++) fprintf(out, "%llu%c", (unsigned long long)counts[k], k + 1 < KINDS ? ' ' : '\n');
    fflush(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "mark=", 5)) mark = atoll(argv[i] + 5);
        if (!strncmp(argv[i], "out=", 4)) out = fopen(argv[i] + 4, "w");
    }
    if (!out || mark < 0) {
        fprintf(stderr, "insn_count: mark=NUMBER,out=FILE expected\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
