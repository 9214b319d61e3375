/* A power cut for tests: records how much of each file was synced, so that what was not can be taken away after a
 * kill. SIGKILL alone proves nothing about durability, since the page cache survives it. Preloaded; never linked. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int ledger = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWERCUT_LEDGER");
    if (path) ledger = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

static int synced(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    int known = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    int result = real(fd);
    if (known && result == 0 && ledger >= 0) {
        char line[64];
        int length = snprintf(line, sizeof line, "%llu %lld\n", (unsigned long long)before.st_ino, (long long)before.st_size);
        if (write(ledger, line, (size_t)length) != length) abort();
    }
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
