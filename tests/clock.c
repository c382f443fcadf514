/* A machine whose clock is wrong: preloaded, it lets a program begin at TEST_CLOCK, in seconds since
   1970. Only this clock is wrong; the monotonic one goes on as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

typedef int (*gettime)(clockid_t, struct timespec *);

static int real(clockid_t which, struct timespec *t) {
    static gettime found;
    if (!found)
        found = (gettime)dlsym(RTLD_NEXT, "clock_gettime");
    return found(which, t);
}

static struct timespec now(void) {
    static time_t ahead;
    struct timespec t;
    real(CLOCK_REALTIME, &t);
    if (!ahead)
        ahead = atoll(getenv("TEST_CLOCK")) - t.tv_sec;
    t.tv_sec += ahead;
    return t;
}

int clock_gettime(clockid_t which, struct timespec *t) {
    if (which != CLOCK_REALTIME)
        return real(which, t);
    *t = now();
    return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec n = now();
    t->tv_sec = n.tv_sec;
    t->tv_usec = n.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t) {
    time_t n = now().tv_sec;
    if (t)
        *t = n;
    return n;
}
