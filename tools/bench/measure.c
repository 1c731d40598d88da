/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the load tool measures with: a log-linear latency histogram, and the account of cores and
 * processes from /proc. It reads the account itself, at the two ends of the measured window, so
 * that no start or wake-up of another program falls between the traffic and its cost.
 */
#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUB_BITS 6 /* 64 buckets per power of two */

static unsigned int bucket_of(uint64_t value)
{
	unsigned int shift;

	if (value < (1u << SUB_BITS))
		return (unsigned int)value;
	shift = 63u - (unsigned int)__builtin_clzll(value) - SUB_BITS;
	return ((shift + 1) << SUB_BITS) +
	       (unsigned int)((value >> shift) & ((1u << SUB_BITS) - 1));
}

/* The middle of a bucket. */
static double bucket_value(unsigned int bucket)
{
	unsigned int shift = bucket >> SUB_BITS;
	uint64_t low = bucket & ((1u << SUB_BITS) - 1);

	if (shift == 0)
		return (double)low;
	return ((double)(low + (1u << SUB_BITS)) + 0.5) * (double)(1ULL << (shift - 1));
}

void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
	histogram->counts[bucket_of(value_ns)]++;
	histogram->total++;
}

double histogram_percentile_us(const struct histogram *histogram, double percent)
{
	double wanted = (double)histogram->total * percent / 100.0;
	uint64_t seen = 0;

	for (unsigned int i = 0; i < sizeof(histogram->counts) / sizeof(histogram->counts[0]);
	     i++) {
		seen += histogram->counts[i];
		if (seen > 0 && (double)seen >= wanted)
			return bucket_value(i) / 1000.0;
	}
	return 0;
}

int usage_parse_pids(const char *text, struct usage_pids *ret_pids)
{
	struct usage_pids pids = {0};
	char *end;

	while (*text) {
		long pid = strtol(text, &end, 10);

		if (end == text || pid <= 0 || pids.n_pids == USAGE_PIDS_MAX ||
		    (*end && *end != ','))
			return -EINVAL;
		pids.pids[pids.n_pids++] = (pid_t)pid;
		text = *end ? end + 1 : end;
	}
	*ret_pids = pids;
	return 0;
}

static uint64_t thread_run_ns(pid_t pid, const char *thread)
{
	unsigned long long run_ns = 0;
	char path[64];
	FILE *file;

	if (snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", pid, thread) >=
	    (int)sizeof(path))
		return 0;
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%llu", &run_ns) != 1)
		run_ns = 0;
	fclose(file);
	return run_ns;
}

static uint64_t process_run_ns(pid_t pid)
{
	struct dirent *entry;
	uint64_t sum_ns = 0;
	char path[32];
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	folder = opendir(path);
	if (!folder)
		return 0;
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			sum_ns += thread_run_ns(pid, entry->d_name);
	closedir(folder);
	return sum_ns;
}

/* Idle and iowait are counted exactly at every entry to and exit from idle; the other columns are
 * samples. */
static int read_cores(struct usage *usage)
{
	uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	unsigned long long idle, iowait, steal;
	char line[512];
	unsigned int core;
	FILE *file = fopen("/proc/stat", "re");

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "cpu%u %*u %*u %*u %llu %llu %*u %*u %llu", &core, &idle, &iowait,
			   &steal) != 4 ||
		    core >= USAGE_CORES_MAX)
			continue;
		usage->idle_ns[core] = (idle + iowait) * tick_ns;
		usage->steal_ns[core] = steal * tick_ns;
		usage->n_cores = core + 1;
	}
	fclose(file);
	return usage->n_cores > 0 ? 0 : -EIO;
}

int usage_read(const struct usage_pids *pids, struct usage *ret_usage)
{
	struct usage usage = {0};
	int ret;

	for (unsigned int i = 0; i < pids->n_pids; i++)
		usage.own_ns += process_run_ns(pids->pids[i]);
	ret = read_cores(&usage);
	if (ret < 0)
		return ret;
	usage.time_ns = clock_ns();
	*ret_usage = usage;
	return 0;
}

static void add_memory(pid_t pid, struct usage_memory *memory)
{
	unsigned long long kib;
	char text[128];
	FILE *file;

	snprintf(text, sizeof(text), "/proc/%d/smaps_rollup", pid);
	file = fopen(text, "re");
	if (!file)
		return;
	while (fgets(text, sizeof(text), file)) {
		if (sscanf(text, "Pss_Anon: %llu kB", &kib) == 1 ||
		    sscanf(text, "Pss_Shmem: %llu kB", &kib) == 1)
			memory->own_kib += kib;
		else if (sscanf(text, "Pss_File: %llu kB", &kib) == 1)
			memory->mapped_kib += kib;
	}
	fclose(file);
}

struct usage_memory usage_memory(const struct usage_pids *pids)
{
	struct usage_memory memory = {0};

	for (unsigned int i = 0; i < pids->n_pids; i++)
		add_memory(pids->pids[i], &memory);
	return memory;
}
