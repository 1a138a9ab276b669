/* The driver's innermost loops: a folder's names with their facts, two folders side by side, one small file.

   Each call goes to the kernel relative to a directory handle and never follows a link in a last name. It decides
   nothing: what is not plain is left to the Python beside it, which does the same without this module (native.py).
   System calls run without the interpreter's lock. */

#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <structmember.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define INTERFACE 8 /* native.py has the same number: change both when a function takes or gives something else */

#ifndef SYS_listxattrat
#define SYS_listxattrat 465 /* the same on every architecture, since Linux 6.13 */
#endif

#define COMPARE_MODE 1
#define COMPARE_UID 2
#define COMPARE_GID 4
#define COMPARE_EXTENDED 8
#define COMPARE_MTIME 16
#define COMPARE_CONTENT 32

#define RESERVED_PREFIX ".sync-runner"
#define LIST_BUFFER (64 * 1024)
#define EXTENDED_BUFFER 4096

/* ---- names of one folder ---------------------------------------------------------------------------------- */

#define SETTLED 1
#define IS_FOLDER 2

typedef struct {
    uint64_t key;    /* eight bytes of the name after what all names begin with, first byte highest */
    uint32_t offset; /* of the name in the arena; a folder's ends with a slash */
    uint32_t flags;
} Item;

typedef struct {
    PyObject_HEAD
    int fd; /* the caller's; it has to stay open while the object is used */
    char *arena;
    size_t used, room;
    Item *items;
    size_t count, space, next, settled;
    int without_extended; /* the file system has no extended attributes */
} Folder;

static int grow_arena(Folder *folder, size_t more)
{
    if (folder->used + more <= folder->room)
        return 0;
    size_t room = folder->room ? folder->room : 4096;
    while (room < folder->used + more)
        room *= 2;
    if (room > UINT32_MAX)
        return -1;
    char *arena = realloc(folder->arena, room);
    if (arena == NULL)
        return -1;
    folder->arena = arena;
    folder->room = room;
    return 0;
}

static int append(Folder *folder, const char *name, size_t length, int is_folder)
{
    if (folder->count == folder->space) {
        size_t space = folder->space ? folder->space * 2 : 64;
        Item *items = realloc(folder->items, space * sizeof(Item));
        if (items == NULL)
            return -1;
        folder->items = items;
        folder->space = space;
    }
    if (grow_arena(folder, length + 2) < 0)
        return -1;
    Item *item = &folder->items[folder->count++];
    item->offset = (uint32_t)folder->used;
    item->flags = is_folder ? IS_FOLDER : 0;
    item->key = 0;
    memcpy(folder->arena + folder->used, name, length);
    folder->used += length;
    if (is_folder)
        folder->arena[folder->used++] = '/';
    folder->arena[folder->used++] = '\0';
    return 0;
}

struct linux_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[];
};

/* 0, or an errno. Without the interpreter's lock. */
static int read_names(Folder *folder)
{
    char *buffer = malloc(LIST_BUFFER);
    if (buffer == NULL)
        return ENOMEM;
    for (;;) {
        long got = syscall(SYS_getdents64, folder->fd, buffer, LIST_BUFFER);
        if (got < 0) {
            int number = errno;
            if (number == EINTR)
                continue;
            free(buffer);
            return number;
        }
        if (got == 0)
            break;
        for (long at = 0; at < got;) {
            struct linux_dirent64 *found = (struct linux_dirent64 *)(buffer + at);
            at += found->d_reclen;
            const char *name = found->d_name;
            if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
                continue;
            int is_folder = found->d_type == DT_DIR;
            if (found->d_type == DT_UNKNOWN) {
                struct stat facts;
                is_folder = fstatat(folder->fd, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(facts.st_mode);
            }
            if (append(folder, name, strlen(name), is_folder) < 0) {
                free(buffer);
                return ENOMEM;
            }
        }
    }
    free(buffer);
    return 0;
}

static int by_name(const void *left, const void *right, void *context)
{
    const Item *a = left, *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    const char *arena = ((Folder *)context)->arena;
    return strcmp(arena + a->offset, arena + b->offset);
}

/* By bytes. Names of one folder mostly begin alike, so the key that is compared first is taken after that. */
static void sort_names(Folder *folder)
{
    if (folder->count < 2)
        return;
    const char *first = folder->arena + folder->items[0].offset;
    size_t common = strlen(first);
    for (size_t index = 1; index < folder->count && common > 0; index++) {
        const char *name = folder->arena + folder->items[index].offset;
        size_t same = 0;
        while (same < common && name[same] == first[same])
            same++;
        common = same;
    }
    for (size_t index = 0; index < folder->count; index++) {
        Item *item = &folder->items[index];
        const unsigned char *name = (const unsigned char *)folder->arena + item->offset + common;
        uint64_t key = 0;
        int place = 0;
        for (; place < 8 && name[place] != '\0'; place++)
            key = key << 8 | name[place];
        item->key = place == 0 ? 0 : key << 8 * (8 - place);
    }
    qsort_r(folder->items, folder->count, sizeof(Item), by_name, folder);
}

/* Leave out what `reserved` says of names that begin with the tool's own prefix. -1 with an exception. */
static int drop_reserved(Folder *folder, PyObject *reserved)
{
    size_t kept = 0;
    for (size_t index = 0; index < folder->count; index++) {
        Item item = folder->items[index];
        const char *name = folder->arena + item.offset;
        if (name[0] == '.' && strncmp(name, RESERVED_PREFIX, sizeof(RESERVED_PREFIX) - 1) == 0) {
            size_t length = strlen(name) - (item.flags & IS_FOLDER ? 1 : 0);
            PyObject *text = PyUnicode_DecodeFSDefaultAndSize(name, (Py_ssize_t)length);
            if (text == NULL)
                return -1;
            PyObject *answer = PyObject_CallFunction(reserved, "Oi", text, item.flags & IS_FOLDER ? 1 : 0);
            Py_DECREF(text);
            if (answer == NULL)
                return -1;
            int drop = PyObject_IsTrue(answer);
            Py_DECREF(answer);
            if (drop < 0)
                return -1;
            if (drop)
                continue;
        }
        folder->items[kept++] = item;
    }
    folder->count = kept;
    return 0;
}

static PyObject *Folder_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    int fd;
    PyObject *reserved;
    if (keywords != NULL && PyDict_GET_SIZE(keywords) != 0) {
        PyErr_SetString(PyExc_TypeError, "Folder takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "iO:Folder", &fd, &reserved))
        return NULL;
    Folder *folder = (Folder *)type->tp_alloc(type, 0);
    if (folder == NULL)
        return NULL;
    folder->fd = fd;
    int number;
    Py_BEGIN_ALLOW_THREADS
    number = read_names(folder);
    Py_END_ALLOW_THREADS
    if (number != 0) {
        Py_DECREF(folder);
        errno = number;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (drop_reserved(folder, reserved) < 0) {
        Py_DECREF(folder);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    sort_names(folder);
    Py_END_ALLOW_THREADS
    return (PyObject *)folder;
}

static void Folder_dealloc(Folder *folder)
{
    free(folder->arena);
    free(folder->items);
    Py_TYPE(folder)->tp_free((PyObject *)folder);
}

static Py_ssize_t Folder_length(Folder *folder)
{
    return (Py_ssize_t)(folder->count - folder->settled);
}

/* ---- facts ------------------------------------------------------------------------------------------------- */

static int listxattrat_missing; /* the kernel does not know the call */

static int begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* As facts.py: what belongs to the file, and ACLs; labels of the machine do not. */
static int is_carried(const char *name)
{
    return begins(name, "user.") || begins(name, "trusted.") || strcmp(name, "security.capability") == 0 ||
           begins(name, "system.posix_acl_");
}

/* listxattr of an entry in the folder, whose last name is not followed; `room` 0 asks for the size alone. */
static ssize_t list_extended(Folder *folder, const char *name, char *list, size_t room)
{
    if (!listxattrat_missing) {
        ssize_t got = syscall(SYS_listxattrat, folder->fd, name, AT_SYMLINK_NOFOLLOW, list, room);
        if (got >= 0 || (errno != ENOSYS && errno != EPERM))
            return got;
        listxattrat_missing = errno == ENOSYS; /* EPERM: what sandboxes answer to calls they do not know */
    }
    char path[NAME_MAX + 64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", folder->fd, name);
    return llistxattr(path, list, room);
}

/* 0: has none that is carried; 1: has some; 2: cannot be told here. `name` is without a slash. */
static int extended(Folder *folder, const char *name)
{
    char list[EXTENDED_BUFFER];
    if (folder->without_extended)
        return 0;
    /* Nearly always there is none; a buffer would have to be allocated for each file, in the kernel. */
    ssize_t got = list_extended(folder, name, NULL, 0);
    if (got > 0)
        got = list_extended(folder, name, list, sizeof(list));
    if (got < 0) {
        if (errno == EOPNOTSUPP) {
            folder->without_extended = 1;
            return 0;
        }
        return 2;
    }
    for (ssize_t at = 0; at < got; at += (ssize_t)strlen(list + at) + 1)
        if (is_carried(list + at))
            return 1;
    return 0;
}

static long long nanoseconds(struct timespec time)
{
    return (long long)time.tv_sec * 1000000000LL + time.tv_nsec;
}

static struct timespec timespec_of(long long time)
{
    long long seconds = time / 1000000000LL, rest = time % 1000000000LL;
    if (rest < 0) {
        seconds--;
        rest += 1000000000LL;
    }
    return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)rest};
}

static int version_text(char *text, size_t room, const struct stat *facts)
{
    return snprintf(text, room, "%llu:%lld", (unsigned long long)facts->st_ino, nanoseconds(facts->st_ctim));
}

typedef struct {
    size_t index;
    int number; /* an errno, 0 = the facts are good */
    int extended;
    struct stat facts;
} Looked;

#define LOOK_AT_ONCE 256

/* `facts(wants_extended)`: of the next entries in order, [] when there are no more. One tuple an entry:
   (key, mode, size, mtime_ns, version, uid, gid, nlink, blocks, extended). What has
   vanished is left out; where the kernel refuses, mode is 0 and size the errno. */
static PyObject *Folder_facts(Folder *folder, PyObject *wants)
{
    int wants_extended = PyObject_IsTrue(wants);
    if (wants_extended < 0)
        return NULL;
    Looked *looked = PyMem_RawMalloc(LOOK_AT_ONCE * sizeof(Looked));
    if (looked == NULL)
        return PyErr_NoMemory();
    size_t taken = 0;
    Py_BEGIN_ALLOW_THREADS
    while (taken == 0 && folder->next < folder->count) {
        while (taken < LOOK_AT_ONCE && folder->next < folder->count) {
            Item *item = &folder->items[folder->next];
            size_t index = folder->next++;
            if (item->flags & SETTLED)
                continue;
            const char *name = folder->arena + item->offset;
            Looked *one = &looked[taken];
            char plain[NAME_MAX + 2];
            size_t length = strlen(name);
            one->index = index;
            one->number = 0;
            one->extended = 0;
            if (length > NAME_MAX + 1) {
                one->number = ENAMETOOLONG;
                taken++;
                continue;
            }
            memcpy(plain, name, length + 1);
            if (item->flags & IS_FOLDER)
                plain[length - 1] = '\0';
            if (fstatat(folder->fd, plain, &one->facts, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno == ENOENT)
                    continue;
                one->number = errno;
            } else if (wants_extended) {
                one->extended = extended(folder, plain);
            }
            taken++;
        }
    }
    Py_END_ALLOW_THREADS
    PyObject *list = PyList_New((Py_ssize_t)taken);
    if (list == NULL)
        goto failed;
    for (size_t place = 0; place < taken; place++) {
        Looked *one = &looked[place];
        const char *name = folder->arena + folder->items[one->index].offset;
        PyObject *key = PyUnicode_DecodeFSDefault(name);
        PyObject *row = NULL;
        if (key != NULL && one->number != 0) {
            row = Py_BuildValue("(Niiisiiiii)", key, 0, one->number, 0, "", 0, 0, 0, 0, 0);
        } else if (key != NULL) {
            char version[64];
            struct stat *facts = &one->facts;
            int length = version_text(version, sizeof(version), facts);
            row = Py_BuildValue("(NILLs#IIKLi)", key, (unsigned int)facts->st_mode, (long long)facts->st_size,
                                nanoseconds(facts->st_mtim), version, (Py_ssize_t)length,
                                (unsigned int)facts->st_uid, (unsigned int)facts->st_gid,
                                (unsigned long long)facts->st_nlink, (long long)facts->st_blocks, one->extended);
        }
        if (row == NULL) {
            Py_DECREF(list);
            goto failed;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)place, row);
    }
    PyMem_RawFree(looked);
    return list;
failed:
    PyMem_RawFree(looked);
    return NULL;
}

/* ---- two folders side by side ------------------------------------------------------------------------------ */

#define PIECE (256 * 1024)
/* Files larger than this, and what comes after so much was read in one call, are left to those who can be interrupted. */
#define CONTENT_OF_ONE (8LL << 20)
#define CONTENT_OF_ALL (256LL << 20)

typedef struct {
    char *left, *right; /* of PIECE bytes each; NULL = content is not compared */
    int noatime;
    long long left_over;
} Contents;

static int open_content(Folder *folder, const char *name, int noatime)
{
    return openat(folder->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (noatime ? O_NOATIME : 0));
}

/* Whether both are regular files of this size and hold the same bytes. Reading may go on while somebody writes: then what
   was read is not the same, or was at that moment. */
static int same_content(Folder *left, Folder *right, const char *name, long long size, Contents *contents)
{
    if (size > CONTENT_OF_ONE || size > contents->left_over)
        return 0;
    contents->left_over -= size;
    int one = open_content(left, name, contents->noatime), two = -1, same = 0;
    struct stat facts, other;
    if (one >= 0)
        two = open_content(right, name, contents->noatime);
    if (two >= 0 && fstat(one, &facts) == 0 && fstat(two, &other) == 0 && S_ISREG(facts.st_mode) &&
        S_ISREG(other.st_mode) && facts.st_size == size && other.st_size == size) {
        long long done = 0;
        same = 1;
        while (same && done < size) {
            ssize_t got = pread(one, contents->left, PIECE, done), back = pread(two, contents->right, PIECE, done);
            same = got > 0 && got == back && memcmp(contents->left, contents->right, (size_t)got) == 0;
            done += got;
        }
        same = same && done == size;
    }
    if (two >= 0)
        close(two);
    if (one >= 0)
        close(one);
    return same;
}

static int same_file(Folder *left, Folder *right, const char *name, int fields, long long tolerance,
                     Contents *contents, struct stat *facts)
{
    struct stat other;
    if (fstatat(left->fd, name, facts, AT_SYMLINK_NOFOLLOW) < 0 ||
        fstatat(right->fd, name, &other, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (!S_ISREG(facts->st_mode) || !S_ISREG(other.st_mode) || facts->st_nlink != 1 || other.st_nlink != 1 ||
        facts->st_size != other.st_size)
        return 0;
    if (fields & COMPARE_MTIME) {
        long long apart = nanoseconds(facts->st_mtim) - nanoseconds(other.st_mtim);
        if (apart > tolerance || -apart > tolerance)
            return 0;
    }
    if ((fields & COMPARE_MODE && facts->st_mode != other.st_mode) ||
        (fields & COMPARE_UID && facts->st_uid != other.st_uid) ||
        (fields & COMPARE_GID && facts->st_gid != other.st_gid))
        return 0;
    if (fields & COMPARE_EXTENDED && (extended(left, name) != 0 || extended(right, name) != 0))
        return 0;
    return contents->left == NULL || same_content(left, right, name, facts->st_size, contents);
}

typedef struct {
    size_t left, right;
    long long size, mtime;
} Pair;

static PyTypeObject FolderType;

/* settle(source, destination, fields, tolerance_ns, tells) -> (files, bytes, pairs). */
static PyObject *native_settle(PyObject *module, PyObject *arguments)
{
    Folder *left, *right;
    int fields, tells, out_of_memory = 0;
    long long tolerance, bytes = 0;
    if (!PyArg_ParseTuple(arguments, "O!O!iLp:settle", &FolderType, &left, &FolderType, &right, &fields, &tolerance,
                          &tells))
        return NULL;
    Pair *pairs = NULL;
    size_t told = 0, room = 0;
    Contents contents = {NULL, NULL, geteuid() == 0, CONTENT_OF_ALL};
    if (fields & COMPARE_CONTENT) {
        contents.left = malloc(2 * PIECE);
        if (contents.left == NULL)
            return PyErr_NoMemory();
        contents.right = contents.left + PIECE;
    }
    long long files = 0;
    Py_BEGIN_ALLOW_THREADS
    size_t a = left->next, b = right->next;
    while (a < left->count && b < right->count) {
        Item *one = &left->items[a], *two = &right->items[b];
        const char *name = left->arena + one->offset;
        int order = strcmp(name, right->arena + two->offset);
        if (order == 0 && !(one->flags & (SETTLED | IS_FOLDER)) && !(two->flags & SETTLED)) {
            struct stat facts;
            if (same_file(left, right, name, fields, tolerance, &contents, &facts)) {
                if (tells) {
                    if (told == room) {
                        room = room ? room * 2 : 64;
                        Pair *more = realloc(pairs, room * sizeof(Pair));
                        if (more == NULL) {
                            out_of_memory = 1;
                            break;
                        }
                        pairs = more;
                    }
                    pairs[told++] = (Pair){a, b, facts.st_size, nanoseconds(facts.st_mtim)};
                } else {
                    one->flags |= SETTLED;
                    two->flags |= SETTLED;
                    left->settled++;
                    right->settled++;
                }
                files++;
                bytes += facts.st_size;
            }
        }
        a += order <= 0;
        b += order >= 0;
    }
    Py_END_ALLOW_THREADS
    PyObject *list = out_of_memory ? PyErr_NoMemory() : PyList_New((Py_ssize_t)told);
    for (size_t place = 0; list != NULL && place < told; place++) {
        PyObject *key = PyUnicode_DecodeFSDefault(left->arena + left->items[pairs[place].left].offset);
        PyObject *row = key == NULL ? NULL
                                    : Py_BuildValue("(nnNLL)", (Py_ssize_t)pairs[place].left,
                                                    (Py_ssize_t)pairs[place].right, key, pairs[place].size,
                                                    pairs[place].mtime);
        if (row == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)place, row);
    }
    free(pairs);
    free(contents.left);
    if (list == NULL)
        return NULL;
    return Py_BuildValue("(LLN)", files, bytes, list);
}

/* `leave_out(index)`: an entry that `settle` told of is done with. */
static PyObject *Folder_leave_out(Folder *folder, PyObject *argument)
{
    size_t index = PyLong_AsSize_t(argument);
    if (index == (size_t)-1 && PyErr_Occurred())
        return NULL;
    if (index >= folder->count) {
        PyErr_SetString(PyExc_IndexError, "no such entry");
        return NULL;
    }
    if (!(folder->items[index].flags & SETTLED)) {
        folder->items[index].flags |= SETTLED;
        folder->settled++;
    }
    Py_RETURN_NONE;
}

/* ---- what takes time --------------------------------------------------------------------------------------- */

/* Cells of an Observer (runner/locations/observer.py): nanoseconds by activity, and since when the present one lasts. */
#define CELL_READING 3
#define CELL_WRITING 4
#define CELL_VERIFYING 6
#define CELL_SINCE 10
#define CELLS 11

typedef struct {
    uint64_t *cells; /* NULL: nobody wants to know */
    uint64_t at;
} Watch;

static uint64_t instant(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* What was done since the last time was that. */
static void took(Watch *watch, int cell)
{
    if (watch->cells == NULL)
        return;
    uint64_t now = instant(), elapsed = now - watch->at;
    watch->cells[cell] += elapsed;
    watch->cells[CELL_SINCE] += elapsed;
    watch->at = now;
}

/* ---- small files -------------------------------------------------------------------------------------------- */

static int is_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int link_unnamed(int fd, int directory, const char *name)
{
    static int needs_path;
    if (!needs_path) {
        if (linkat(fd, "", directory, name, AT_EMPTY_PATH) == 0)
            return 0;
        if (errno != ENOENT && errno != EPERM && errno != EINVAL)
            return -1;
        needs_path = 1; /* kernels before 6.10 want CAP_DAC_READ_SEARCH for it */
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW);
}

typedef struct {
    long long size, mtime, new_mtime;
    const char *version;
    const char *replaced, *temporary; /* the version of what is replaced and a name of one's own; NULL: nothing is */
    unsigned int mode, uid, gid;
    int noatime, flush;
} Small;

/* 1: the whole file, as it was listed, stands in `content`; 0: it is another one now; -1: errno. */
static int read_small(int directory, const char *name, const Small *small, char *content)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (small->noatime ? O_NOATIME : 0);
    int fd = openat(directory, name, flags), result = -1;
    if (fd < 0)
        return -1;
    struct stat before, after;
    if (fstat(fd, &before) == 0) {
        char known[64];
        version_text(known, sizeof(known), &before);
        result = 0;
        if (S_ISREG(before.st_mode) && before.st_size == small->size && nanoseconds(before.st_mtim) == small->mtime &&
            strcmp(known, small->version) == 0) {
            ssize_t got = pread(fd, content, (size_t)small->size + 1, 0);
            if (got < 0 || fstat(fd, &after) < 0)
                result = -1;
            else
                result = got == small->size && after.st_size == small->size &&
                         nanoseconds(after.st_mtim) == small->mtime &&
                         nanoseconds(after.st_ctim) == nanoseconds(before.st_ctim);
        }
    }
    int number = errno;
    close(fd);
    errno = number;
    return result;
}

/* 1: the unnamed file has its name now; 0: what stands there is not what is to be replaced; -1: errno. */
static int publish_small(int fd, int directory, const char *name, const Small *small)
{
    if (small->replaced == NULL)
        return link_unnamed(fd, directory, name) == 0 ? 1 : -1;
    if (link_unnamed(fd, directory, small->temporary) < 0)
        return -1;
    struct stat facts;
    int result = -1;
    if (fstatat(directory, name, &facts, AT_SYMLINK_NOFOLLOW) == 0) {
        char known[64];
        version_text(known, sizeof(known), &facts);
        result = S_ISREG(facts.st_mode) && strcmp(known, small->replaced) == 0;
        if (result > 0)
            result = renameat(directory, small->temporary, directory, name) == 0 ? 1 : -1;
    }
    if (result <= 0) {
        int number = errno;
        unlinkat(directory, small->temporary, 0);
        errno = number;
    }
    return result;
}

/* 1: an unnamed file got content and all metadata, was read back and found equal, flushed when that is wanted, and has
   its name now; 0 or -1 with errno: nothing is left. */
static int write_small(int directory, const char *name, const Small *small, const char *content, char *check,
                       Watch *watch)
{
    int fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_NOATIME | O_CLOEXEC, 0600), result = -1;
    if (fd < 0)
        return -1;
    struct stat facts;
    /* Nobody has read it yet: its access time says nothing. */
    struct timespec times[2] = {timespec_of(small->new_mtime), timespec_of(small->new_mtime)};
    size_t size = (size_t)small->size;
    ssize_t wrote = size ? pwrite(fd, content, size, 0) : 0;
    if (wrote >= 0 && fstat(fd, &facts) == 0 &&
        ((facts.st_uid == small->uid && facts.st_gid == small->gid) || fchown(fd, small->uid, small->gid) == 0) &&
        fchmod(fd, small->mode) == 0 && futimens(fd, times) == 0) {
        took(watch, CELL_WRITING);
        ssize_t got = size ? pread(fd, check, size + 1, 0) : 0;
        if (got >= 0)
            result = 0;
        int equal = wrote == small->size && got == small->size && memcmp(content, check, size) == 0;
        took(watch, CELL_VERIFYING);
        if (equal)
            result = !small->flush || fsync(fd) == 0 ? publish_small(fd, directory, name, small) : -1;
    }
    int number = errno;
    close(fd);
    errno = number;
    return result;
}

/* What one call does, and how long each part of it took. */
#define AT_ONCE 256

typedef struct {
    PyObject *names[AT_ONCE]; /* bytes, one reference each */
    uint64_t took[AT_ONCE];
    Py_ssize_t count, done;
} Run;

static void forget(Run *run)
{
    for (Py_ssize_t index = 0; index < run->count; index++)
        Py_DECREF(run->names[index]);
}

static PyObject *told(Run *run)
{
    PyObject *list = PyList_New(run->done);
    for (Py_ssize_t index = 0; list != NULL && index < run->done; index++) {
        PyObject *number = PyLong_FromUnsignedLongLong(run->took[index]);
        if (number == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, index, number);
    }
    return list;
}

/* copy_small(source, target, rows, noatime, flush, content, check, cells) -> nanoseconds of each file that has its name now:
   those of `rows` from the first to the one before that which is left. A row is (name, size, mtime_ns, version, mode, uid, gid,
   new_mtime_ns, replaced, temporary). `content` holds the files, one after another, and a byte to spare, as `check` does for
   the largest. `cells` (None, or writable) are told what took time. */
static PyObject *native_copy_small(PyObject *module, PyObject *arguments)
{
    int source, target, noatime, flush;
    PyObject *rows, *cells, *answer = NULL;
    Py_buffer content, check, times = {0};
    Run run = {.count = 0, .done = 0};
    Small smalls[AT_ONCE];
    Watch watch = {NULL, 0};
    if (!PyArg_ParseTuple(arguments, "iiO!ppw*w*O:copy_small", &source, &target, &PyTuple_Type, &rows, &noatime, &flush,
                          &content, &check, &cells))
        return NULL;
    long long room = content.len - 1;
    Py_ssize_t count = PyTuple_GET_SIZE(rows);
    for (; run.count < count && run.count < AT_ONCE; run.count++) {
        Small *small = &smalls[run.count];
        PyObject *row = PyTuple_GET_ITEM(rows, run.count);
        if (!PyTuple_Check(row)) {
            PyErr_SetString(PyExc_TypeError, "a row has to be a tuple");
            goto failed;
        }
        if (!PyArg_ParseTuple(row, "O&LLsIIILzz:copy_small", PyUnicode_FSConverter, &run.names[run.count], &small->size,
                              &small->mtime, &small->version, &small->mode, &small->uid, &small->gid, &small->new_mtime,
                              &small->replaced, &small->temporary))
            goto failed;
        small->noatime = noatime;
        small->flush = flush;
        if (!is_name(PyBytes_AS_STRING(run.names[run.count])) || small->size < 0 || small->size > room ||
            small->size >= check.len ||
            (small->replaced != NULL && (small->temporary == NULL || !is_name(small->temporary)))) {
            Py_DECREF(run.names[run.count]);
            break;
        }
        room -= small->size;
    }
    if (cells != Py_None) {
        if (PyObject_GetBuffer(cells, &times, PyBUF_WRITABLE) < 0)
            goto failed;
        if (times.len >= (Py_ssize_t)(CELLS * sizeof(uint64_t)) && (uintptr_t)times.buf % sizeof(uint64_t) == 0)
            watch.cells = times.buf;
    }
    Py_BEGIN_ALLOW_THREADS
    char *place = content.buf;
    uint64_t began = watch.at = instant();
    while (run.done < run.count) {
        Small *small = &smalls[run.done];
        const char *name = PyBytes_AS_STRING(run.names[run.done]);
        int result = read_small(source, name, small, place);
        took(&watch, CELL_READING);
        if (result > 0) {
            result = write_small(target, name, small, place, check.buf, &watch);
            took(&watch, CELL_WRITING);
        }
        if (result <= 0)
            break;
        place += small->size;
        uint64_t now = watch.cells == NULL ? instant() : watch.at;
        run.took[run.done++] = now - began;
        began = now;
    }
    Py_END_ALLOW_THREADS
    answer = told(&run);
failed:
    forget(&run);
    PyBuffer_Release(&content);
    PyBuffer_Release(&check);
    if (times.obj != NULL)
        PyBuffer_Release(&times);
    return answer;
}

static int has_extended(int fd)
{
    char list[EXTENDED_BUFFER];
    ssize_t got = flistxattr(fd, NULL, 0);
    if (got > 0)
        got = flistxattr(fd, list, sizeof(list));
    if (got < 0)
        return errno != EOPNOTSUPP;
    for (ssize_t at = 0; at < got; at += (ssize_t)strlen(list + at) + 1)
        if (is_carried(list + at))
            return 1;
    return 0;
}

typedef struct {
    long long size, mtime;
    unsigned int mode, uid, gid;
} Expected;

/* 1: the whole file, as expected, stands in `content`; 0: it is another one; -1: errno. */
static int read_as_expected(int directory, const char *name, const Expected *expected, long long tolerance, int noatime,
                            char *content)
{
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (noatime ? O_NOATIME : 0));
    if (fd < 0)
        return -1;
    struct stat before, after;
    int result = -1;
    if (fstat(fd, &before) == 0) {
        long long apart = nanoseconds(before.st_mtim) - expected->mtime;
        result = S_ISREG(before.st_mode) && before.st_size == expected->size &&
                 (before.st_mode & 07777) == expected->mode && before.st_uid == expected->uid &&
                 before.st_gid == expected->gid && apart <= tolerance && -apart <= tolerance && !has_extended(fd);
        if (result) {
            ssize_t got = pread(fd, content, (size_t)expected->size + 1, 0);
            if (got < 0 || fstat(fd, &after) < 0)
                result = -1;
            else
                result = got == expected->size && nanoseconds(after.st_mtim) == nanoseconds(before.st_mtim) &&
                         nanoseconds(after.st_ctim) == nanoseconds(before.st_ctim);
        }
    }
    close(fd);
    return result;
}

/* read_expected(directory, rows, tolerance_ns, noatime, buffer) -> how many of `rows`, from the first on, are ordinary files
   without extended attributes, and all that their row says: (name, size, mtime_ns, mode, uid, gid). Their content is in
   `buffer`, one after another, which has a byte to spare. */
static PyObject *native_read_expected(PyObject *module, PyObject *arguments)
{
    int directory, noatime;
    long long tolerance;
    PyObject *rows, *answer = NULL;
    Py_buffer buffer;
    Run run = {.count = 0, .done = 0};
    Expected expected[AT_ONCE];
    if (!PyArg_ParseTuple(arguments, "iO!Lpw*:read_expected", &directory, &PyTuple_Type, &rows, &tolerance, &noatime,
                          &buffer))
        return NULL;
    long long room = buffer.len - 1;
    Py_ssize_t count = PyTuple_GET_SIZE(rows);
    for (; run.count < count && run.count < AT_ONCE; run.count++) {
        Expected *one = &expected[run.count];
        PyObject *row = PyTuple_GET_ITEM(rows, run.count);
        if (!PyTuple_Check(row)) {
            PyErr_SetString(PyExc_TypeError, "a row has to be a tuple");
            goto failed;
        }
        if (!PyArg_ParseTuple(row, "O&LLIII:read_expected", PyUnicode_FSConverter, &run.names[run.count], &one->size,
                              &one->mtime, &one->mode, &one->uid, &one->gid))
            goto failed;
        if (!is_name(PyBytes_AS_STRING(run.names[run.count])) || one->size < 0 || one->size > room) {
            Py_DECREF(run.names[run.count]);
            break;
        }
        room -= one->size;
    }
    Py_BEGIN_ALLOW_THREADS
    char *place = buffer.buf;
    while (run.done < run.count) {
        Expected *one = &expected[run.done];
        if (read_as_expected(directory, PyBytes_AS_STRING(run.names[run.done]), one, tolerance, noatime, place) <= 0)
            break;
        place += one->size;
        run.done++;
    }
    Py_END_ALLOW_THREADS
    answer = PyLong_FromSsize_t(run.done);
failed:
    forget(&run);
    PyBuffer_Release(&buffer);
    return answer;
}

/* remove_files(directory, source, folder, rows) -> nanoseconds of each file that is gone now: those of `rows` from the first to
   the one before that which is left. A row is (name, version); exactly the file that was listed with this version goes, and
   only while nothing stands at its path, `folder` and its name, below the directory `source`. */
static PyObject *native_remove_files(PyObject *module, PyObject *arguments)
{
    int directory, source;
    PyObject *folder, *rows, *answer = NULL;
    Run run = {.count = 0, .done = 0};
    const char *versions[AT_ONCE];
    if (!PyArg_ParseTuple(arguments, "iiO&O!:remove_files", &directory, &source, PyUnicode_FSConverter, &folder,
                          &PyTuple_Type, &rows))
        return NULL;
    size_t above = (size_t)PyBytes_GET_SIZE(folder);
    char *path = above < PATH_MAX && PyBytes_AS_STRING(folder)[0] != '/' ? malloc(above + NAME_MAX + 2) : NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(rows);
    for (; run.count < count && run.count < AT_ONCE; run.count++) {
        PyObject *row = PyTuple_GET_ITEM(rows, run.count);
        if (!PyTuple_Check(row)) {
            PyErr_SetString(PyExc_TypeError, "a row has to be a tuple");
            goto failed;
        }
        if (!PyArg_ParseTuple(row, "O&s:remove_files", PyUnicode_FSConverter, &run.names[run.count],
                              &versions[run.count]))
            goto failed;
        if (path == NULL || !is_name(PyBytes_AS_STRING(run.names[run.count])) ||
            PyBytes_GET_SIZE(run.names[run.count]) > NAME_MAX) {
            Py_DECREF(run.names[run.count]);
            break;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    uint64_t began = instant();
    if (path != NULL)
        memcpy(path, PyBytes_AS_STRING(folder), above);
    while (run.done < run.count) {
        const char *name = PyBytes_AS_STRING(run.names[run.done]);
        struct stat facts;
        char known[64];
        strcpy(path + above, name);
        /* Links on the way may be followed here: whatever is found, wherever, nothing is removed. */
        if (fstatat(source, path, &facts, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT ||
            fstatat(directory, name, &facts, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(facts.st_mode))
            break;
        version_text(known, sizeof(known), &facts);
        if (strcmp(known, versions[run.done]) != 0 || unlinkat(directory, name, 0) < 0)
            break;
        uint64_t now = instant();
        run.took[run.done++] = now - began;
        began = now;
    }
    Py_END_ALLOW_THREADS
    answer = told(&run);
failed:
    forget(&run);
    free(path);
    Py_DECREF(folder);
    return answer;
}

/* ---- one folder -------------------------------------------------------------------------------------------- */

static int is_folder(int directory, const char *name)
{
    struct stat facts;
    return fstatat(directory, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(facts.st_mode);
}

/* make_folder(source, target, name) -> whether the folder was made, mode 0700, while one of that name is in `source`. Raises
   OSError. */
static PyObject *native_make_folder(PyObject *module, PyObject *arguments)
{
    int source, target, result = 0, number = 0;
    PyObject *name;
    if (!PyArg_ParseTuple(arguments, "iiO&:make_folder", &source, &target, PyUnicode_FSConverter, &name))
        return NULL;
    const char *text = PyBytes_AS_STRING(name);
    if (is_name(text)) {
        Py_BEGIN_ALLOW_THREADS
        struct stat facts;
        if (is_folder(source, text)) {
            result = mkdirat(target, text, 0700) == 0 ? 1 : -1;
            number = errno;
            /* A folder that hands down its group, or a strange umask: this one is not as it should be. */
            if (result > 0 && (fstatat(target, text, &facts, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(facts.st_mode) ||
                               (facts.st_mode & 07777) != 0700)) {
                unlinkat(target, text, AT_REMOVEDIR);
                result = 0;
            }
        }
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(name);
    if (result < 0) {
        errno = number;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyBool_FromLong(result);
}

/* finish_folder(source, target, name, mode, uid, gid, mtime_ns) -> whether the folder has all that now, and no extended
   attributes, while one of that name is in `source`. False: it may have some of it. Raises OSError. */
static PyObject *native_finish_folder(PyObject *module, PyObject *arguments)
{
    int source, target, result = 0, number = 0;
    PyObject *name;
    unsigned int mode, uid, gid;
    long long mtime;
    if (!PyArg_ParseTuple(arguments, "iiO&IIIL:finish_folder", &source, &target, PyUnicode_FSConverter, &name, &mode, &uid,
                          &gid, &mtime))
        return NULL;
    const char *text = PyBytes_AS_STRING(name);
    if (is_name(text)) {
        Py_BEGIN_ALLOW_THREADS
        if (is_folder(source, text)) {
            int fd = openat(target, text, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            result = -1;
            if (fd >= 0) {
                struct stat facts;
                struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, timespec_of(mtime)};
                if (fstat(fd, &facts) == 0) {
                    result = !has_extended(fd);
                    if (result && (((facts.st_uid != uid || facts.st_gid != gid) && fchown(fd, uid, gid) < 0) ||
                                   fchmod(fd, mode) < 0 || futimens(fd, times) < 0 || fstat(fd, &facts) < 0))
                        result = -1;
                    /* Some mounts accept such calls and ignore them. */
                    if (result > 0)
                        result = (facts.st_mode & 07777) == mode && facts.st_uid == uid && facts.st_gid == gid &&
                                 nanoseconds(facts.st_mtim) == mtime;
                }
                number = errno;
                close(fd);
            } else {
                number = errno;
            }
        }
        Py_END_ALLOW_THREADS
    }
    Py_DECREF(name);
    if (result < 0) {
        errno = number;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyBool_FromLong(result);
}

/* ---- the module -------------------------------------------------------------------------------------------- */

static PyMethodDef folder_methods[] = {
    {"facts", (PyCFunction)Folder_facts, METH_O, NULL},
    {"leave_out", (PyCFunction)Folder_leave_out, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef folder_members[] = {
    {"fd", T_INT, offsetof(Folder, fd), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PySequenceMethods folder_sequence = {.sq_length = (lenfunc)Folder_length};

static PyTypeObject FolderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_native.Folder",
    .tp_basicsize = sizeof(Folder),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Folder_new,
    .tp_dealloc = (destructor)Folder_dealloc,
    .tp_methods = folder_methods,
    .tp_members = folder_members,
    .tp_as_sequence = &folder_sequence,
};

static PyMethodDef functions[] = {
    {"settle", native_settle, METH_VARARGS, NULL},
    {"copy_small", native_copy_small, METH_VARARGS, NULL},
    {"read_expected", native_read_expected, METH_VARARGS, NULL},
    {"remove_files", native_remove_files, METH_VARARGS, NULL},
    {"make_folder", native_make_folder, METH_VARARGS, NULL},
    {"finish_folder", native_finish_folder, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module;
    if (PyType_Ready(&FolderType) < 0 || (module = PyModule_Create(&definition)) == NULL)
        return NULL;
    Py_INCREF(&FolderType);
    if (PyModule_AddObject(module, "Folder", (PyObject *)&FolderType) < 0 ||
        PyModule_AddIntConstant(module, "COMPARE_MODE", COMPARE_MODE) < 0 ||
        PyModule_AddIntConstant(module, "COMPARE_UID", COMPARE_UID) < 0 ||
        PyModule_AddIntConstant(module, "COMPARE_GID", COMPARE_GID) < 0 ||
        PyModule_AddIntConstant(module, "COMPARE_EXTENDED", COMPARE_EXTENDED) < 0 ||
        PyModule_AddIntConstant(module, "COMPARE_MTIME", COMPARE_MTIME) < 0 ||
        PyModule_AddIntConstant(module, "COMPARE_CONTENT", COMPARE_CONTENT) < 0 ||
        PyModule_AddIntConstant(module, "INTERFACE", INTERFACE) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
