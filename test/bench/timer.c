// Starts a command once for each line on stdin and prints how long it took from spawn to end in nanoseconds, its status, and the
// most memory that one process of its tree had resident so far, in KiB. A small process of its own, so that what is measured is
// the command and not the fork of a large one.
//   timer COMMAND [ARGUMENT...]
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char** environ;

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc < 2) errx(2, "usage: timer COMMAND...");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  for (int c; (c = getchar()) != EOF;) {
    if (c != '\n') continue;
    pid_t pid = 0;
    const long long start = now();
    if (posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ)) err(1, "spawn %s", argv[1]);
    int status = 0;
    if (waitpid(pid, &status, 0) < 0) err(1, "waitpid");
    const long long end = now();
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("%lld %d %ld\n", end - start, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), usage.ru_maxrss);
    fflush(stdout);
  }
  return 0;
}
