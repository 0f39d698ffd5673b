// SPDX-License-Identifier: Apache-2.0
//
// A GPIO chip for a machine whose kernel has none: preloaded, it answers the ioctls of the character device
// (linux/gpio.h, version 2 of the interface) for the libgpiod that is inside the gpiod package. The lines' levels are
// bytes of the file FAKE_GPIO: 0 low, 1 high; its last byte says that the chip is unplugged. The chip's device is
// /dev/full, any character device would do: it is opened truly, and said to be on the GPIO bus.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINES = 32, UNPLUGGED = LINES, SIZE = LINES + 1, REQUESTS = 8 };

static struct request { int fd; unsigned count; unsigned offsets[LINES]; int low[LINES]; } requests[REQUESTS];
static unsigned char *levels;

static int plugged(void) {
    if (!levels) {
        int fd = open(getenv("FAKE_GPIO"), O_RDWR);
        levels = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
    return !levels[UNPLUGGED];
}

static int fails(int error) { errno = error; return -1; }

static struct request *of(int fd) {
    for (int i = 0; i < REQUESTS; i++) if (requests[i].fd == fd && fd > 0) return &requests[i];
    return NULL;
}

static int active_low(const struct gpio_v2_line_config *config, unsigned line) {
    __u64 flags = config->flags;
    for (unsigned i = 0; i < config->num_attrs; i++)
        if ((config->attrs[i].mask >> line & 1) && config->attrs[i].attr.id == GPIO_V2_LINE_ATTR_ID_FLAGS)
            flags = config->attrs[i].attr.flags;
    return (flags & GPIO_V2_LINE_FLAG_ACTIVE_LOW) != 0;
}

static int output(const struct gpio_v2_line_config *config, unsigned line) {
    for (unsigned i = 0; i < config->num_attrs; i++)
        if ((config->attrs[i].mask >> line & 1) && config->attrs[i].attr.id == GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES)
            return config->attrs[i].attr.values >> line & 1;
    return 0;
}

static int taken(unsigned offset) {
    for (int i = 0; i < REQUESTS; i++)
        for (unsigned line = 0; requests[i].fd > 0 && line < requests[i].count; line++)
            if (requests[i].offsets[line] == offset) return 1;
    return 0;
}

static int request_lines(struct gpio_v2_line_request *wanted) {
    struct request *free_one = NULL;
    for (int i = 0; i < REQUESTS; i++) if (requests[i].fd <= 0) free_one = &requests[i];
    if (!free_one) return fails(ENOMEM);
    for (unsigned line = 0; line < wanted->num_lines; line++) {
        if (wanted->offsets[line] >= LINES) return fails(EINVAL);
        if (taken(wanted->offsets[line])) return fails(EBUSY);
    }
    free_one->count = wanted->num_lines;
    for (unsigned line = 0; line < wanted->num_lines; line++) {
        free_one->offsets[line] = wanted->offsets[line];
        free_one->low[line] = active_low(&wanted->config, line);
        levels[wanted->offsets[line]] = output(&wanted->config, line) ^ free_one->low[line];
    }
    wanted->fd = free_one->fd = memfd_create("gpio-line", MFD_CLOEXEC);
    return 0;
}

static int values(struct request *lines, struct gpio_v2_line_values *values, int set) {
    if (!lines) return fails(EINVAL);
    for (unsigned line = 0; line < lines->count; line++) {
        if (!(values->mask >> line & 1)) continue;
        unsigned char *level = &levels[lines->offsets[line]];
        if (set) *level = (values->bits >> line & 1) ^ lines->low[line];
        else if (*level ^ lines->low[line]) values->bits |= 1ULL << line;
        else values->bits &= ~(1ULL << line);
    }
    return 0;
}

static int chip_info(struct gpiochip_info *info) {
    memset(info, 0, sizeof *info);
    strcpy(info->name, "gpiochip0");
    strcpy(info->label, "fake");
    info->lines = LINES;
    return 0;
}

static int line_info(struct gpio_v2_line_info *info) {
    unsigned offset = info->offset;
    if (offset >= LINES) return fails(EINVAL);
    memset(info, 0, sizeof *info);
    info->offset = offset;
    info->flags = GPIO_V2_LINE_FLAG_OUTPUT;
    return 0;
}

int ioctl(int fd, unsigned long call, ...) {
    va_list rest;
    va_start(rest, call);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (_IOC_TYPE(call) != 0xB4) {
        int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
        return real(fd, call, argument);
    }
    if (!plugged()) return fails(ENODEV);
    switch ((unsigned)call) { // as the kernel does: the caller may have widened it with its sign
    case GPIO_GET_CHIPINFO_IOCTL: return chip_info(argument);
    case GPIO_V2_GET_LINEINFO_IOCTL: return line_info(argument);
    case GPIO_V2_GET_LINE_IOCTL: return request_lines(argument);
    case GPIO_V2_LINE_SET_VALUES_IOCTL: return values(of(fd), argument, 1);
    case GPIO_V2_LINE_GET_VALUES_IOCTL: return values(of(fd), argument, 0);
    default: return fails(EINVAL);
    }
}

int close(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    struct request *lines = of(fd);
    if (lines) lines->fd = 0;
    return real(fd);
}

char *realpath(const char *path, char *resolved) {
    char *(*real)(const char *, char *) = dlsym(RTLD_NEXT, "realpath");
    if (strncmp(path, "/sys/dev/char/", 14) == 0) return strdup("/sys/bus/gpio");
    return real(path, resolved);
}
