/* A clock that is FX_TESTS_SHIFT seconds ahead of the machine's, in every process that this library is preloaded into.
 *
 * It shifts the time of day alone; clocks that measure durations are left as they are. libfaketime 0.9.10 does not allow for
 * that: time.sleep of Python 3.11 fails with it (clock_nanosleep returns EINVAL) where it leaves monotonic clocks alone, and
 * hangs where it does not.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*of_machine)(clockid_t, struct timespec *);
static long shift;

__attribute__((constructor)) static void start(void)
{
    const char *seconds = getenv("FX_TESTS_SHIFT");
    shift = seconds ? atol(seconds) : 0;
    of_machine = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!of_machine) /* another library's constructor reads the time before ours has run */
        start();
    int failed = of_machine(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += shift;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec moment;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &moment);
    now->tv_sec = moment.tv_sec;
    now->tv_usec = moment.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}
