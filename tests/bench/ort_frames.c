/* Runs a model N times with onnxruntime on one thread, a getppid(2) before and after each: what aarch64.py counts between.
 *
 *     ort_frames MODEL INPUT_NAME uint8|int8 INPUT_FILE FRAMES OUTPUT_NAME…
 *
 * The input is 1x3x320x320 bytes. Outputs are kept from frame to frame, so that nothing is allocated for them. The wheel that holds
 * libonnxruntime.so has no header; its table of functions only ever grows at the end, so the positions below hold for all versions.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct base { const void *const *(*api)(uint32_t); const char *(*version)(void); };
const struct base *OrtGetApiBase(void);

enum { ERROR_MESSAGE = 2, CREATE_ENV = 3, CREATE_SESSION = 7, RUN = 9, CREATE_OPTIONS = 10, INTRA_THREADS = 24, TENSOR_FROM_DATA = 49, CPU_MEMORY = 69 };
enum { UINT8 = 2, INT8 = 3, WARNINGS_OFF = 4, ARENA = 1 };

static const void *const *api;

static void check(void *status)
{
    if (status) {
        fprintf(stderr, "onnxruntime: %s\n", ((const char *(*)(void *))api[ERROR_MESSAGE])(status));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static uint8_t image[3 * 320 * 320];
    if (argc < 7) return 64;
    FILE *f = fopen(argv[4], "rb");
    if (!f || fread(image, 1, sizeof image, f) != sizeof image) return 66;
    size_t outputs = argc - 6;
    void *env, *options, *session, *memory, *input, *results[64] = {0};
    if (outputs > 64) return 64;

    api = OrtGetApiBase()->api(1);
    fprintf(stderr, "%s\n", OrtGetApiBase()->version());
    check(((void *(*)(int, const char *, void **))api[CREATE_ENV])(WARNINGS_OFF, "bench", &env));
    check(((void *(*)(void **))api[CREATE_OPTIONS])(&options));
    check(((void *(*)(void *, int))api[INTRA_THREADS])(options, 1));
    check(((void *(*)(void *, const char *, void *, void **))api[CREATE_SESSION])(env, argv[1], options, &session));
    check(((void *(*)(int, int, void **))api[CPU_MEMORY])(ARENA, 0, &memory));
    const int64_t shape[] = {1, 3, 320, 320};
    int type = strcmp(argv[3], "uint8") ? INT8 : UINT8;
    check(((void *(*)(void *, void *, size_t, const int64_t *, size_t, int, void **))api[TENSOR_FROM_DATA])(memory, image, sizeof image, shape, 4, type, &input));
    for (int i = 0; i < atoi(argv[5]); i++) {
        getppid();
        check(((void *(*)(void *, void *, char **, void **, size_t, char **, size_t, void **))api[RUN])(session, NULL, argv + 2, &input, 1, argv + 6, outputs, results));
        getppid();
    }
    return 0;
}
