/* A machine's clock that can be set: every process that is run with this library loaded reads it
 * as so many seconds off as the file named in FAULTS_CLOCK says, a 64-bit integer. Only the time
 * of day is moved: what runs off a process's own stopwatch goes on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t seconds_off(void)
{
	static volatile int64_t *shared;

	if (!shared) {
		const char *path = getenv("FAULTS_CLOCK");
		int file = path ? open(path, O_RDONLY) : -1;
		void *mapped;

		if (file < 0)
			return 0;
		mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
		close(file);
		if (mapped == MAP_FAILED)
			return 0;
		shared = mapped;
	}
	return *shared;
}

int clock_gettime(clockid_t clock, struct timespec *found)
{
	static int (*real)(clockid_t, struct timespec *);
	int failed;

	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	failed = real(clock, found);
	if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		found->tv_sec += seconds_off();
	return failed;
}

time_t time(time_t *found)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (found)
		*found = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict found, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	found->tv_sec = now.tv_sec;
	found->tv_usec = now.tv_nsec / 1000;
	return 0;
}
