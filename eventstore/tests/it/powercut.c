/* A power cut for tests: records how much of each file was synced, and which names of each directory, so that what was
 * not can be taken away after a kill. SIGKILL alone proves nothing about durability, since the page cache survives it. Preloaded; never linked. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int ledger = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POWERCUT_LEDGER");
    if (path) ledger = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

/* The names a directory has now, as one line: "/" and its inode, then each after another "/". */
static size_t names(int fd, unsigned long long inode, char *line, size_t room) {
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) return 0;
    size_t length = (size_t)snprintf(line, room, "/%llu", inode);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (length + strlen(entry->d_name) + 2 > room) abort();
        length += (size_t)snprintf(line + length, room - length, "/%s", entry->d_name);
    }
    closedir(dir);
    line[length++] = '\n';
    return length;
}

static int synced(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    static _Thread_local char line[1 << 16];
    size_t length = 0;
    if (ledger >= 0 && fstat(fd, &before) == 0) {
        if (S_ISREG(before.st_mode))
            length = (size_t)snprintf(line, sizeof line, "%llu %lld\n", (unsigned long long)before.st_ino, (long long)before.st_size);
        else if (S_ISDIR(before.st_mode))
            length = names(fd, (unsigned long long)before.st_ino, line, sizeof line);
    }
    int result = real(fd);
    if (length && result == 0 && write(ledger, line, length) != (ssize_t)length) abort();
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
