/*
 * Stands between the daemon and the C library (LD_PRELOAD), because no kill -9 can show what a power failure would
 * leave behind: it writes down every sync of the journal, and fails or delays them on demand.
 *
 * DURABILITY_JOURNAL  the journal's path; its -wal file counts as it does
 * DURABILITY_LOG      one line for each sync, appended when it has ended: done|failed FILE-SIZE FILE
 * DURABILITY_CONTROL  a file that is read before each sync: "fail", "delay MILLISECONDS", or nothing of the sort
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int (*sync_function)(int);

/* What the file is called after the journal's path: "", "-wal" ...; NULL for files that are not the journal. */
static const char *journal_file(int fd, char *path, size_t room)
{
    const char *journal = getenv("DURABILITY_JOURNAL");
    char link[64];
    ssize_t length;

    if (journal == NULL)
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, room - 1);
    if (length < 0)
        return NULL;
    path[length] = '\0';
    if (strncmp(path, journal, strlen(journal)) != 0)
        return NULL;
    path += strlen(journal);
    return *path == '\0' || strcmp(path, "-wal") == 0 ? path : NULL;
}

static void read_control(char *order, size_t room)
{
    const char *control = getenv("DURABILITY_CONTROL");
    int fd = control == NULL ? -1 : open(control, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, order, room - 1);

    order[length < 0 ? 0 : length] = '\0';
    if (fd >= 0)
        close(fd);
}

static void write_down(const char *what, long long size, const char *file)
{
    const char *log = getenv("DURABILITY_LOG");
    int fd = log == NULL ? -1 : open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    char line[PATH_MAX];
    int length = snprintf(line, sizeof line, "%s %lld journal%s\n", what, size, file);

    /* A test without its log must not pass. */
    if (fd < 0 || write(fd, line, (size_t)length) != length)
        abort();
    close(fd);
}

static int guarded(const char *name, int fd)
{
    sync_function original = (sync_function)dlsym(RTLD_NEXT, name);
    char path[PATH_MAX], order[64];
    const char *file = journal_file(fd, path, sizeof path);
    struct stat status;
    int result;

    if (file == NULL)
        return original(fd);
    if (fstat(fd, &status) != 0)
        return -1;
    read_control(order, sizeof order);
    if (strncmp(order, "fail", 4) == 0) {
        write_down("failed", status.st_size, file);
        errno = EIO;
        return -1;
    }
    if (strncmp(order, "delay ", 6) == 0) {
        long milliseconds = atol(order + 6);
        struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        nanosleep(&wait, NULL);
    }
    result = original(fd);
    write_down(result == 0 ? "done" : "failed", status.st_size, file);
    return result;
}

int fsync(int fd)
{
    return guarded("fsync", fd);
}

int fdatasync(int fd)
{
    return guarded("fdatasync", fd);
}
