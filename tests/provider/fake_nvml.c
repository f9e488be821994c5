/* A driver library that answers as the environment says: FAKE_NVML_GPUS (a count),
 * FAKE_NVML_INIT (NVML's return code). Built without BARE_NVML it reads all that is asked;
 * with it, it lacks what is beyond starting and stopping. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } utilization_t;

static int number(const char *name, int fallback) {
    const char *text = getenv(name);
    return text ? atoi(text) : fallback;
}

int nvmlInitWithFlags(unsigned int flags) { (void)flags; return number("FAKE_NVML_INIT", 0); }
int nvmlShutdown(void) {
    const char *path = getenv("FAKE_NVML_SHUTDOWN");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) { fputs("shut down\n", file); fclose(file); }
    return 0;
}

#ifndef BARE_NVML
int nvmlSystemGetDriverVersion(char *text, unsigned int size) {
    snprintf(text, size, "550.54.14");
    return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = number("FAKE_NVML_GPUS", 2); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    *handle = (void *)(size_t)(index + 1);
    return 0;
}
int nvmlDeviceGetName(void *gpu, char *text, unsigned int size) {
    snprintf(text, size, (size_t)gpu == 1 ? "NVIDIA GeForce RTX 4090" : "NVIDIA L4");
    return 0;
}
int nvmlDeviceGetUUID(void *gpu, char *text, unsigned int size) {
    snprintf(text, size, "GPU-0000000%zu", (size_t)gpu);
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *gpu, memory_t *memory) {
    memory->total = ((size_t)gpu == 1 ? 24564ULL : 23034ULL) << 20;
    memory->used = 1234ULL << 20;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *gpu, utilization_t *rates) {
    (void)gpu;
    rates->gpu = 87;
    rates->memory = 12;
    return 0;
}
int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned int *celsius) {
    (void)gpu; (void)sensor;
    *celsius = 64;
    return 0;
}
int nvmlDeviceGetPowerUsage(void *gpu, unsigned int *milliwatts) {
    (void)gpu; (void)milliwatts;
    return 3; /* not supported */
}
int nvmlDeviceGetEnforcedPowerLimit(void *gpu, unsigned int *milliwatts) {
    (void)gpu;
    *milliwatts = number("FAKE_NVML_POWER", 450) * 1000;
    return *milliwatts ? 0 : 3; /* not supported */
}
#endif
